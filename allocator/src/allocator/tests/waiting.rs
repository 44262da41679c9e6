//! Requests that may not block wait for no drainer, and for nobody who has the list of caches. Whoever did would wait here for ever.

use std::sync::mpsc::channel;

use crate::{
    Allocator, Gfp, Maintain, MemPolicy, Nid, NodeMask, Order,
    pcp::local,
    sync::{fence_claims, thread},
};

const MASKS: [Gfp; 3] = [Gfp::NOWAIT, Gfp::ATOMIC, Gfp::TRANSHUGE_LIGHT];

fn small() -> Allocator {
    Allocator::builder(16 << 20).dma(0).maintain(Maintain::ByHand).build().expect("16 MiB")
}

/// Asks in every way, of orders with a list and without.
fn ask(allocator: &Allocator, gfp: Gfp) {
    for order in [0, 3, 5].map(Order::new) {
        drop(allocator.alloc_pages(gfp, order).expect("room"));
        drop(allocator.alloc_pages_node(Some(Nid::new(0)), gfp, order).expect("room"));
        drop(allocator.request(gfp, order).alloc().expect("room"));
    }
    let mut slots = [const { None }; 70];
    assert_eq!(allocator.alloc_pages_bulk(gfp, &mut slots), 70);
}

#[test]
fn a_drainer_that_has_the_cache_is_not_waited_for_even_for_a_policy() {
    let allocator = small();
    let scope = allocator.mempolicy(MemPolicy::Bind(NodeMask::of(Nid::new(0)))).expect("a policy");
    let owner = local::find(local::key_of(allocator.number)).expect("the policy is in it");
    let (claimed, is_claimed) = channel();
    let (done, is_done) = channel::<()>();
    let drainer = thread::spawn({
        let cell = owner.cell().clone();
        move || {
            let claim = cell.try_claim().expect("nobody else drains");
            let cache = claim.wait(&fence_claims(), core::time::Duration::MAX).expect("the owner is outside");
            claimed.send(()).expect("somebody waits");
            is_done.recv().expect("a word");
            drop(cache);
        }
    });
    is_claimed.recv().expect("a word");
    MASKS.into_iter().for_each(|gfp| ask(&allocator, gfp));
    done.send(()).expect("the drainer waits");
    drainer.join().expect("no panic");
    drop((scope, owner));
}

#[test]
fn a_thread_without_a_cache_does_not_wait_for_the_list_of_caches() {
    let allocator = small();
    let handle = allocator.handle().expect("a cache");
    let mut asked = false;
    allocator.core().domain.caches().for_each(|_, _| {
        // The list is locked now.
        let requests = thread::spawn({
            let allocator = allocator.clone();
            move || {
                for gfp in MASKS {
                    let block = allocator.alloc_pages(gfp, Order::ZERO).expect("room");
                    core::mem::forget(block);
                    assert!(local::find(local::key_of(allocator.number)).is_none(), "{gfp} made a cache");
                }
            }
        });
        requests.join().expect("no panic");
        asked = true;
    });
    assert!(asked);
    drop(handle);
}
