//! Properties: what a kernel prints is read back, and pairing agrees with a naive model.

use std::{collections::BTreeMap, fmt::Write};

use proptest::prelude::*;

use super::{
    Op, Trace,
    event::PageEvent,
    line::{Line, parse},
    prefix::TaskStyle,
};

/// How an event is printed.
#[derive(Clone, Copy, Debug)]
enum Printer {
    Ftrace4,
    Ftrace5,
    TraceCmd,
    Perf,
}

impl Printer {
    /// Prints a line as this program does; pfns in decimal where kernels of its time did.
    fn print(self, comm: &str, cpu: u16, event: &str, pfn: u64, rest: &str) -> String {
        let pfn = match self {
            Self::Ftrace4 => format!("{pfn}"),
            _ => format!("0x{pfn:x}"),
        };
        let text = format!("page=00000000478dde1c pfn={pfn} {rest}");
        match self {
            Self::Ftrace4 => format!("{comm:>16}-1234  [{cpu:03}] d..1   775.139366: {event}: {text}"),
            Self::Ftrace5 => format!("{comm:>16}-1234  [{cpu:03}] d..1.   775.139366: {event}: {text}"),
            Self::TraceCmd => format!("{comm:>16}-1234  [{cpu:03}]   775.139366: {event}:       {text}"),
            Self::Perf => {
                format!("{comm:>16}  1234 [{cpu:03}]   775.139366:             kmem:{event}: {text}")
            }
        }
    }

    fn style(self) -> TaskStyle {
        if matches!(self, Self::Perf) { TaskStyle::Space } else { TaskStyle::Dash }
    }
}

fn printers() -> impl Strategy<Value = Printer> {
    prop_oneof![Just(Printer::Ftrace4), Just(Printer::Ftrace5), Just(Printer::TraceCmd), Just(Printer::Perf)]
}

/// An action of the kernel on a small range of frames.
#[derive(Clone, Copy, Debug)]
struct Action {
    alloc: bool,
    cpu: u16,
    pfn: u64,
    order: u8,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action =
        (any::<bool>(), 0..4_u16, 0..64_u64, 0..4_u8).prop_map(|(alloc, cpu, number, order)| Action {
            alloc,
            cpu,
            // From 64, because frame 0 means a failure.
            pfn: 64 + (number >> order << order),
            order,
        });
    prop::collection::vec(action, 1..200)
}

/// The model: the allocation that each live frame belongs to. A block is live while it has a frame here.
#[derive(Default)]
struct Model {
    frames: BTreeMap<u64, (usize, u8)>,
    allocs: u64,
    frees: u64,
    unmatched: u64,
    peak: u64,
}

impl Model {
    fn live_blocks(&self) -> BTreeMap<usize, u8> {
        self.frames.values().copied().collect()
    }

    fn apply(&mut self, id: usize, action: Action) {
        let before = self.live_blocks().len();
        let range = action.pfn..action.pfn + (1 << action.order);
        let matched = range.clone().filter(|frame| self.frames.remove(frame).is_some()).count();
        self.frees += (before - self.live_blocks().len()) as u64;
        if action.alloc {
            self.allocs += 1;
            self.frames.extend(range.map(|frame| (frame, (id, action.order))));
        } else if matched == 0 {
            self.unmatched += 1;
        }
        self.peak = self.peak.max(self.live_frames());
    }

    fn live_frames(&self) -> u64 {
        self.live_blocks().values().map(|&order| 1_u64 << order).sum()
    }
}

proptest! {
    #[test]
    fn a_printed_event_is_read_back(
        printer in printers(),
        comm in "[ -~]{0,14}[!-~]",
        cpu in 0..4096_u16,
        pfn in 1..1_u64 << 40,
        order in 0..=10_u8,
        migratetype in 0..3_u8,
        flags in prop::collection::vec(prop_oneof![Just("GFP_KERNEL"), Just("__GFP_ZERO"), Just("__GFP_COMP"), Just("0x2000000")], 1..4),
    ) {
        let flags = flags.join("|");
        let rest = format!("order={order} migratetype={migratetype} gfp_flags={flags}");
        let line = printer.print(&comm, cpu, "mm_page_alloc", pfn, &rest);
        let event = PageEvent::Alloc { cpu, pfn: Some(pfn), order, migratetype, gfp_flags: flags.as_bytes() };
        // A comment sign can only begin a line in a comm that fills its column.
        prop_assume!(!line.starts_with('#'));
        prop_assert_eq!(parse(line.as_bytes()), Some(Line::Event(printer.style(), event)), "{}", line);

        let line = printer.print(&comm, cpu, "mm_page_free", pfn, &format!("order={order}"));
        prop_assert_eq!(
            parse(line.as_bytes()),
            Some(Line::Event(printer.style(), PageEvent::Free { cpu, pfn, order })),
            "{}", line
        );
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse(&bytes);
    }

    #[test]
    fn pairing_agrees_with_the_model(printer in printers(), actions in actions()) {
        let mut model = Model::default();
        let mut text = String::new();
        for (id, &action) in actions.iter().enumerate() {
            model.apply(id, action);
            let Action { alloc, cpu, pfn, order } = action;
            let line = if alloc {
                printer.print("t", cpu, "mm_page_alloc", pfn, &format!("order={order} migratetype=0 gfp_flags=none"))
            } else {
                printer.print("t", cpu, "mm_page_free", pfn, &format!("order={order}"))
            };
            writeln!(text, "{line}").unwrap();
        }
        prop_assume!(model.allocs > 0);
        let trace = Trace::read(text.as_bytes(), None).unwrap();
        prop_assert_eq!(trace.lines.unparsable, 0);
        prop_assert_eq!(trace.account.allocs, model.allocs);
        prop_assert_eq!(trace.account.frees, model.frees);
        prop_assert_eq!(trace.account.unmatched_frees, model.unmatched);
        prop_assert_eq!(trace.account.peak_live_frames, model.peak);
        prop_assert_eq!(trace.account.live_frames_at_end, model.live_frames());

        // Allocations and frees of a slot take turns, with the same order.
        let mut live: BTreeMap<u32, u8> = BTreeMap::new();
        for event in &trace.events {
            match event.op {
                Op::Alloc(..) => prop_assert_eq!(live.insert(event.slot, event.order), None),
                Op::Free => prop_assert_eq!(live.remove(&event.slot), Some(event.order)),
            }
        }
        prop_assert_eq!(trace.events.len() as u64, model.allocs + model.frees);
    }
}
