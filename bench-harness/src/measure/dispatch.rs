//! From a plan to the worker that carries it out: the one place where workloads become code.
//!
//! Each worker is compiled for each allocator, so that nothing is decided while the clock runs. Most orders are known only at run
//! time; those that are asked for most are compiled in.

use super::member::{Mailbox, Shared, drive};
use crate::rival::{Rival, RivalThread};
use crate::workload::{
    Batch, BlockOrder, Bulk, BulkApi, Churn, Constant, Consume, Consumer, Fault, Larson, Link, Pair,
    PowerOfTwo, Produce, Producer, Random, Ring, Touch, Touching, Variable, Workload, circle, queue,
};

/// What distinguishes the members of a team.
pub(super) enum Role<B> {
    Alone,
    Producer(Producer<B>),
    Consumer(Consumer<B>),
    Member(Link<B>),
}

/// Deals the roles of a workload out: consumers follow their producers, and so sit next to them.
pub(super) fn roles<B: Send>(workload: Workload, workers: usize) -> Vec<Role<B>> {
    if workload.has_pairs() {
        let pair = |_| {
            let (producer, consumer) = queue();
            [Role::Producer(producer), Role::Consumer(consumer)]
        };
        return (0..workers / 2).flat_map(pair).collect();
    }
    match workload {
        Workload::Larson => circle(workers).into_iter().map(Role::Member).collect(),
        _ => (0..workers).map(|_| Role::Alone).collect(),
    }
}

/// Runs a member of the team with the worker that its role and the plan ask for.
pub(super) fn serve<R, B>(shared: &Shared<R, B>, role: Role<B>, mailbox: &Mailbox)
where
    R: Rival,
    for<'a> R::Thread<'a>: RivalThread<Block = B>,
    R: 'static,
    B: Send,
{
    macro_rules! constant_order {
        ($($order:literal)+) => {
            match shared.plan.order {
                $($order => drive(shared, shared.rival.thread(), Pair::new(Constant::<$order>), mailbox),)+
                order => drive(shared, shared.rival.thread(), Pair::new(Variable(order)), mailbox),
            }
        };
    }
    match shared.plan.workload {
        Workload::Pair | Workload::Contended => constant_order!(0 1 2 3 4 5 6 7 8 9 10),
        _ if shared.plan.order == 0 => serve_order(shared, role, Constant::<0>, mailbox),
        _ => serve_order(shared, role, Variable(shared.plan.order), mailbox),
    }
}

/// Runs a member of the team for a workload of which one order is compiled: the others take theirs as it
/// comes.
fn serve_order<R, B, O>(shared: &Shared<R, B>, role: Role<B>, order: O, mailbox: &Mailbox)
where
    R: Rival + 'static,
    B: Send,
    O: BlockOrder,
    for<'a> R::Thread<'a>: RivalThread<Block = B>,
{
    let (seed, variant) = (mailbox.seed(), shared.plan.variant);
    let thread = shared.rival.thread();
    match (shared.plan.workload, role) {
        (_, Role::Producer(queue)) => drive(shared, thread, Produce::new(order, queue), mailbox),
        (_, Role::Consumer(queue)) => drive(shared, thread, Consume::new(order, queue), mailbox),
        (_, Role::Member(link)) => drive(shared, thread, Larson::new(order, seed, link), mailbox),
        (Workload::Pair | Workload::Contended, _) => drive(shared, thread, Pair::new(order), mailbox),
        (Workload::Bulk, _) => drive(shared, thread, Bulk::new(order), mailbox),
        (Workload::Ring, _) => drive(shared, thread, Ring::new(order), mailbox),
        (Workload::BulkApi, _) => {
            let batch = shared.plan.workload.live_blocks(variant);
            drive(shared, thread, BulkApi::new(order, batch), mailbox);
        }
        (Workload::Fault | Workload::FaultThp, _) => drive(shared, thread, Fault::new(order), mailbox),
        (Workload::Batch | Workload::Random | Workload::Churn, _) if variant.touch == Touch::Lines => {
            serve_sets(shared, Touching(thread), mailbox);
        }
        (Workload::Batch | Workload::Random | Workload::Churn, _) if variant.set.is_some() => {
            serve_sets(shared, thread, mailbox);
        }
        (Workload::Batch, _) => drive(shared, thread, Batch::new(order), mailbox),
        (Workload::Random, _) => drive(shared, thread, Random::new(order, seed), mailbox),
        (Workload::Churn, _) => drive(shared, thread, Churn::new(order, seed), mailbox),
        (Workload::Handoff | Workload::Remote | Workload::Larson, Role::Alone) => {
            unreachable!("these have roles of their own")
        }
    }
}

/// Runs a member of the team for a workload whose number of blocks, and the order too, is known only at run time.
fn serve_sets<R, B, T>(shared: &Shared<R, B>, thread: T, mailbox: &Mailbox)
where
    R: Rival,
    T: RivalThread<Block = B>,
{
    let plan = shared.plan;
    let (seed, order) = (mailbox.seed(), Variable(plan.order));
    let blocks = plan.workload.live_blocks(plan.variant);
    let count = PowerOfTwo::new(blocks).expect("the sizes of sets are powers of two");
    match plan.workload {
        Workload::Batch => drive(shared, thread, Batch::of(order, count), mailbox),
        Workload::Random => drive(shared, thread, Random::of(order, count, seed), mailbox),
        _ => drive(shared, thread, Churn::of(order, count, seed), mailbox),
    }
}
