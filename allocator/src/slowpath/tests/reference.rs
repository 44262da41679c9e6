//! The slow path as its rules read, top to bottom: nothing of it is shared with the machine but the world and the flags of a mask.

use crate::{
    compact::CompactPriority,
    error::FailReason,
    gfp::{AllocFlags, Gfp, MigrateType, Scopes, WmarkIndex, ZoneType, gfp_to_alloc_flags, reserve_flags},
    slowpath::{
        decide::Wish,
        effects::{Effects, Pause, Stopped},
    },
};

fn pause_of(rounds: u32) -> Pause {
    if rounds < 3 { Pause::Yield } else { Pause::Tick }
}

/// What an attempt came to: a block, nothing, or the end of the request.
type Attempt<F> = Result<Option<F>, FailReason>;

fn attempt<E: Effects>(world: &mut E, flags: AllocFlags) -> Attempt<E::Found> {
    match (world.attempt(flags), world.stopped()) {
        (Some(found), _) => Ok(Some(found)),
        (None, Some(Stopped::Now(reason))) => Err(reason),
        (None, Some(Stopped::Victim)) if flags.contains(AllocFlags::OOM) => Err(FailReason::Cancelled),
        (None, _) => Ok(None),
    }
}

fn with_and_without_cpuset<E: Effects>(world: &mut E, flags: AllocFlags) -> Attempt<E::Found> {
    if let Some(found) = attempt(world, flags | AllocFlags::CPUSET)? {
        return Ok(Some(found));
    }
    attempt(world, flags)
}

pub(super) fn slow_path<E: Effects>(world: &mut E, wish: Wish) -> Result<E::Found, FailReason> {
    let Wish { gfp, order, highest_zone, migratetype, scopes } = wish;
    let order = order.get();
    let has = |flag| gfp.contains(flag);
    let costly = order > 3;
    let can_compact = has(Gfp::IO);
    let direct_reclaim = has(Gfp::DIRECT_RECLAIM);
    let (mut oom_rounds, mut nofail_rounds) = (0, 0);
    let mut progress;

    'restart: loop {
        let (mut compactions, mut no_progress) = (0, 0);
        let mut flags = gfp_to_alloc_flags(gfp, order);
        let mut may_be_served = world.begin();
        let mut is_first = true;
        'retry: loop {
            'nopage: {
                if !may_be_served {
                    break 'nopage;
                }
                let rights = |world: &E| {
                    let victim = world.stopped() == Some(Stopped::Victim);
                    reserve_flags(gfp, if victim { scopes | Scopes::OOM_VICTIM } else { scopes })
                };
                if is_first {
                    is_first = false;
                    if flags.contains(AllocFlags::KSWAPD) {
                        world.wake_kswapds();
                    }
                    if let Some(found) = attempt(world, flags)? {
                        return Ok(found);
                    }
                    let worth_it = costly || (order > 0 && migratetype != MigrateType::Movable);
                    if direct_reclaim && can_compact && worth_it && rights(world).is_empty() {
                        world.compact(CompactPriority::Async);
                        if costly && has(Gfp::NORETRY) {
                            break 'nopage;
                        }
                    }
                }
                // retry:
                if let Some(Stopped::Now(reason)) = world.stopped() {
                    return Err(reason);
                }
                if world.cookies_changed() {
                    continue 'restart;
                }
                if flags.contains(AllocFlags::KSWAPD) {
                    world.wake_kswapds();
                }
                let reserve = rights(world);
                if !reserve.is_empty() {
                    flags = reserve | (flags & (AllocFlags::KSWAPD | AllocFlags::CMA));
                }
                if !flags.contains(AllocFlags::CPUSET) || !reserve.is_empty() {
                    world.lift_nodemask();
                }
                if let Some(found) = attempt(world, flags)? {
                    return Ok(found);
                }
                if !direct_reclaim || scopes.contains(Scopes::MEMALLOC) {
                    break 'nopage;
                }
                progress = world.reclaim();
                if progress > 0
                    && let Some(found) = attempt(world, flags)?
                {
                    return Ok(found);
                }
                world.unreserve_highatomic(false);
                world.drain_all();
                if let Some(found) = attempt(world, flags)? {
                    return Ok(found);
                }
                if order > 0 && can_compact {
                    world.compact(CompactPriority::SyncLight);
                }
                if has(Gfp::NORETRY) || (costly && !(can_compact && has(Gfp::RETRY_MAYFAIL))) {
                    break 'nopage;
                }
                // Does reclaim lead anywhere?
                if progress > 0 && order <= 3 {
                    no_progress = 0;
                } else {
                    no_progress += 1;
                }
                if no_progress <= 16 && world.could_pass(flags) {
                    world.pause(pause_of(no_progress));
                    continue 'retry;
                }
                if world.unreserve_highatomic(true) {
                    continue 'retry;
                }
                // Does compaction?
                if progress > 0 && can_compact && order > 0 && world.could_be_compacted() {
                    compactions += 1;
                    if compactions <= if costly { 4 } else { 16 } {
                        continue 'retry;
                    }
                }
                if world.cookies_changed() {
                    continue 'restart;
                }
                // Memory has run out.
                let done = world.with_oom_lock(|world| -> Attempt<E::Found> {
                    if let Some(found) = world.attempt_before_oom() {
                        return Ok(Some(found));
                    }
                    progress = 0;
                    let low = highest_zone < ZoneType::Normal;
                    if costly || low || has(Gfp::RETRY_MAYFAIL) || has(Gfp::THISNODE) {
                        return Ok(None);
                    }
                    let asks = has(Gfp::FS) && (oom_rounds < 256 || has(Gfp::NOFAIL));
                    if (asks && world.out_of_memory(oom_rounds)) || has(Gfp::NOFAIL) {
                        progress = 1;
                    }
                    if has(Gfp::NOFAIL) {
                        let all = AllocFlags::from_wmark(WmarkIndex::Min) | AllocFlags::NO_WATERMARKS;
                        return with_and_without_cpuset(world, all);
                    }
                    Ok(None)
                });
                match done {
                    None => {
                        world.pause(Pause::Tick);
                        progress = 1;
                    }
                    Some(Err(reason)) => return Err(reason),
                    Some(Ok(Some(found))) => return Ok(found),
                    Some(Ok(None)) if progress > 0 => {
                        oom_rounds += 1;
                        world.pause(pause_of(oom_rounds));
                    }
                    Some(Ok(None)) => {}
                }
                let victim = world.stopped() == Some(Stopped::Victim);
                if victim && (flags.contains(AllocFlags::OOM) || has(Gfp::NOMEMALLOC)) {
                    break 'nopage;
                }
                if progress > 0 {
                    no_progress = 0;
                    continue 'retry;
                }
            }
            // nopage:
            if world.cookies_changed() {
                continue 'restart;
            }
            if !has(Gfp::NOFAIL) {
                return Err(match world.stopped() {
                    None => FailReason::NoMemory,
                    Some(Stopped::Now(reason)) => reason,
                    Some(Stopped::Victim) => FailReason::Cancelled,
                });
            }
            let half = AllocFlags::from_wmark(WmarkIndex::Min) | AllocFlags::MIN_RESERVE;
            if let Some(found) = with_and_without_cpuset(world, half)? {
                return Ok(found);
            }
            nofail_rounds += 1;
            world.pause(pause_of(nofail_rounds));
            (may_be_served, is_first) = (true, false);
        }
    }
}
