//! Programs at random.
#![expect(clippy::disallowed_types, reason = "prop_oneof! names std's Arc")]

use gfp::Gfp;
use proptest::{
    prelude::*,
    sample::select,
    strategy::{BoxedStrategy, Union},
};

use super::{
    Amount, Ask, By, Call, Counted, Free, Limit, Manner, Mask, Policy, Scope,
    mask::{COMMON, EXTRA},
};
use crate::shapes::NODES;

fn gfp() -> impl Strategy<Value = Mask> {
    let extra = prop_oneof![8 => Just(vec![]), 2 => prop::collection::vec(select(&EXTRA[..]), 1..=2)];
    let common = prop_oneof![3 => select(&COMMON[..5]), 2 => select(&COMMON[..])];
    (common, extra)
        .prop_map(|(common, extra)| Mask::new(extra.into_iter().fold(common, |all, more| all | more)))
}

/// Of order 3 a few more, so that there are times when only smaller blocks are left.
fn order() -> impl Strategy<Value = u8> {
    prop_oneof![120 => Just(0_u8), 60 => 1..4_u8, 50 => Just(3_u8), 50 => 4..9_u8, 34 => 9..=10_u8, 2 => Just(11_u8)]
}

fn by() -> impl Strategy<Value = By> {
    select(&[By::Allocator, By::Handle, By::OtherHandle, By::Thread][..])
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        2 => Just(Policy::Default),
        1 => Just(Policy::Local),
        1 => (0..NODES).prop_map(Policy::Preferred),
        1 => (1..8_u8).prop_map(Policy::PreferredMany),
        2 => (1..8_u8).prop_map(Policy::Bind),
        1 => (1..8_u8).prop_map(Policy::Interleave),
        1 => (1..4_u8, 0..4_u8, 0..4_u8).prop_map(|(a, b, c)| Policy::Weighted([a, b, c])),
    ]
}

fn how() -> impl Strategy<Value = Free> {
    use Free::{Allocator, Cold, Drop, Handle, NoLock, RawParts, Shared, Split, Stranger, Thread};
    select(
        &[
            Drop, Drop, Drop, Allocator, Handle, Handle, Stranger, Thread, Cold, NoLock, RawParts, Shared,
            Split,
        ][..],
    )
}

fn manner() -> impl Strategy<Value = Manner> {
    use Manner::{Boastful, Leaving, OfNode, Reluctant, Willing};
    select(&[Willing, Willing, OfNode, OfNode, Boastful, Reluctant, Leaving][..])
}

fn limit() -> impl Strategy<Value = Limit> {
    use Limit::{Cancelled, Far, Live, Past, PastAndCancelled, Unlimited};
    select(&[Unlimited, Far, Past, Past, Live, Cancelled, Cancelled, PastAndCancelled][..])
}

/// A change of what is dirty: mostly to the limit of a node, or a frame more.
fn dirty() -> impl Strategy<Value = Call> {
    let node = prop_oneof![12 => 0..NODES, 1 => Just(NODES)];
    let counted =
        select(&[Counted::ActiveFile, Counted::InactiveFile, Counted::Dirty, Counted::Writeback][..]);
    let amount = prop_oneof![
        3 => (-2000..2000_i64).prop_map(Amount::Frames),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)].prop_map(Amount::Frames),
    ];
    let anything =
        (node, counted, amount).prop_map(|(node, counted, amount)| Call::Dirty { node, counted, amount });
    let at_limit = (0..NODES, select(&[Counted::Dirty, Counted::Writeback][..]), -1..=1_i8);
    let at_limit = at_limit.prop_map(|(node, counted, more)| Call::Dirty {
        node,
        counted,
        amount: Amount::ToLimit(more),
    });
    prop_oneof![anything, at_limit]
}

fn node() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![3 => Just(None), 12 => (0..NODES).prop_map(Some), 1 => Just(Some(NODES))]
}

fn times() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(1_u8), 1 => 60..250_u8]
}

/// How many a call for many is for: now and then one, which is served as a single frame is.
fn count(below: u16) -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(1), 4 => 1..below]
}

/// Bytes of a fragment or of an exact run: more than there may be, too, and none; of those of at least 600 so many in 40 are more
/// than a frame.
fn bytes(most: usize, large: u32) -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0),
        10 => 1..600_usize,
        40 - large => 600..4097_usize,
        large => 4097..=most,
        1 => most..=2 * most,
    ]
}

fn layout() -> impl Strategy<Value = (usize, u8, bool)> {
    let bytes = prop_oneof![1 => Just(0), 8 => 1..9000_usize, 4 => 9000..200_000_usize, 1 => 200_000..5_000_000_usize];
    let align = prop_oneof![8 => 0..=6_u8, 4 => 12..=16_u8, 2 => 17..=21_u8, 1 => Just(40_u8)];
    (bytes, align, any::<bool>())
}

fn ranged(weight: u32, make: fn(u32, u32) -> Call) -> (u32, BoxedStrategy<Call>) {
    // In a few, so that one change meets another.
    let at = prop_oneof![3 => 0..6_u32, 1 => any::<u32>()];
    (weight, (at, 1..4_u32).prop_map(move |(at, count)| make(at, count)).boxed())
}

fn of(weight: u32, call: impl Strategy<Value = Call> + 'static) -> (u32, BoxedStrategy<Call>) {
    (weight, call.boxed())
}

fn at(weight: u32, make: fn(usize) -> Call) -> (u32, BoxedStrategy<Call>) {
    of(weight, any::<usize>().prop_map(make))
}

/// A request with nodes and what may end it early.
fn request() -> impl Strategy<Value = Call> {
    let allowed = prop_oneof![Just(None), (1..8_u8).prop_map(Some)];
    (node(), allowed, gfp(), order(), limit(), prop::bool::weighted(0.15)).prop_map(
        |(node, allowed, gfp, order, limit, insists)| Call::Request {
            node,
            allowed,
            gfp,
            order,
            limit,
            insists,
        },
    )
}

/// Requests; `greed` is how much more is asked for than given back, in percent.
fn requests(greed: u32) -> Vec<(u32, BoxedStrategy<Call>)> {
    let ask = select(&[Ask::Pages, Ask::Pages, Ask::Pages, Ask::Page, Ask::Zeroed, Ask::ZeroedPage][..]);
    let alloc = (by(), ask, gfp(), order(), times()).prop_map(|(by, ask, gfp, order, times)| {
        let times = if order > 3 { 1 } else { times };
        Call::Alloc { by, ask, gfp, order, times }
    });
    // Large blocks for those who cannot wait, for whom some are set aside.
    let urgent = (by(), 1..9_u8).prop_map(|(by, order)| Call::Alloc {
        by,
        ask: Ask::Pages,
        gfp: Mask(Gfp::ATOMIC),
        order,
        times: 1,
    });
    vec![
        of(greed / 4, alloc),
        of(greed / 12, urgent),
        of(
            greed / 12,
            (node(), gfp(), order()).prop_map(|(node, gfp, order)| Call::OnNode { node, gfp, order }),
        ),
        of(
            greed / 12,
            (node(), 0..8_u8, gfp(), order()).prop_map(|(node, allowed, gfp, order)| Call::FromNodes {
                node,
                allowed,
                gfp,
                order,
            }),
        ),
        of(
            greed / 20,
            (policy(), gfp(), order()).prop_map(|(policy, gfp, order)| Call::OfPolicy { policy, gfp, order }),
        ),
        of(greed / 20, (by(), gfp(), count(300)).prop_map(|(by, gfp, count)| Call::Bulk { by, gfp, count })),
        of(greed / 20, (gfp(), bytes(90 << 12, 20)).prop_map(|(gfp, bytes)| Call::Exact { gfp, bytes })),
        of(greed / 20, order().prop_map(|order| Call::NoLock { order })),
        of(greed / 10, request()),
        of(
            greed / 20,
            (0..16_u32, gfp(), order()).prop_map(|(key, gfp, order)| Call::Keep { key, gfp, order }),
        ),
        of(
            // Mostly when memory is short: then there are frames, but no larger page.
            1 + greed * greed * greed / 480_000,
            (0..NODES, bytes(32 << 10, 6), 0..=13_u8).prop_map(|(cache, bytes, align)| Call::Frag {
                cache,
                bytes,
                align,
            }),
        ),
        of(
            greed / 20,
            (gfp(), layout()).prop_map(|(gfp, (bytes, align, zeroed))| Call::Layout {
                gfp,
                bytes,
                align,
                zeroed,
            }),
        ),
    ]
}

/// What gives back.
fn frees() -> Vec<(u32, BoxedStrategy<Call>)> {
    vec![
        of(
            25,
            (any::<usize>(), how(), times()).prop_map(|(position, how, times)| Call::Free {
                position,
                how,
                times,
            }),
        ),
        of(4, (by(), count(400)).prop_map(|(by, count)| Call::FreeBulk { by, count })),
        of(4, (0..16_u32, how()).prop_map(|(key, how)| Call::Release { key, how })),
        at(5, |position| Call::FreeExact { position }),
        at(4, |position| Call::FreeFrag { position }),
        of(4, (0..NODES).prop_map(|cache| Call::DrainFrags { cache })),
        at(4, |position| Call::FreeLayout { position }),
        at(5, |position| Call::FreeContig { position }),
        at(4, |position| Call::Put { position }),
    ]
}

/// Everything else.
fn changes() -> Vec<(u32, BoxedStrategy<Call>)> {
    vec![
        at(4, |position| Call::Share { position }),
        at(4, |position| Call::Get { position }),
        of(
            8,
            (any::<usize>(), gfp(), layout()).prop_map(|(position, gfp, (bytes, align, zeroed))| {
                Call::Resize { position, gfp, bytes, align, zeroed }
            }),
        ),
        of(4, policy().prop_map(Call::Policy)),
        of(4, prop_oneof![2 => Just(7_u8), 1 => 1..8_u8].prop_map(Call::MemsAllowed)),
        of(4, (0..NODES, prop::bool::weighted(0.4)).prop_map(|(node, now)| Call::Reclaiming { node, now })),
        of(4, select(&[Scope::NoIo, Scope::NoFs, Scope::Memalloc][..]).prop_map(Call::Enter)),
        at(4, |position| Call::Leave { position }),
        ranged(4, |pageblock, count| Call::Isolate { pageblock, count }),
        ranged(4, |pageblock, count| Call::UndoIsolate { pageblock, count }),
        ranged(4, |pageblock, count| Call::Offline { pageblock, count }),
        ranged(4, |pageblock, count| Call::Online { pageblock, count }),
        of(4, (any::<u32>(), 1..700_u32).prop_map(|(start, frames)| Call::Contig { start, frames })),
        of(4, (0..600_u32, 0..6_u8).prop_map(|(frames, align)| Call::Cma { frames, align })),
        of(
            4,
            (manner(), select(&[0, 1, 7, 128_u8][..]))
                .prop_map(|(manner, batch)| Call::Bag { manner, batch }),
        ),
        of(
            6,
            (any::<usize>(), any::<usize>(), times()).prop_map(|(bag, position, times)| Call::FillBag {
                bag,
                position,
                times,
            }),
        ),
        at(4, |bag| Call::DropBag { bag }),
        of(4, Just(Call::EnterToken)),
        at(4, |token| Call::Cancel { token }),
        at(5, |token| Call::LeaveToken { token }),
        of(4, dirty()),
        of(4, Just(Call::Trim)),
        of(4, Just(Call::DrainAll)),
        of(4, Just(Call::Age)),
        of(4, Just(Call::EndThread)),
        of(4, Just(Call::Check)),
    ]
}

/// Programs with times of plenty and of need.
pub fn calls() -> impl Strategy<Value = Vec<Call>> {
    let some = |greed| {
        let call = Union::new_weighted([requests(greed), frees(), changes()].concat());
        prop::collection::vec(call, 0..=450)
    };
    (some(60), some(200), some(40), some(300)).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}
