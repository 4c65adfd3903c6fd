//! What workers of the simulations of moves keep of sessions that have ended, and when they send it.

use super::*;

/// What a beat lists as ended for good.
pub(super) fn ended_in(beat: &Heartbeat) -> Vec<(SessionId, u32)> {
    let ended = |brief: &&SessionBrief| !brief.status.is_live() && brief.reason != Some(EndReason::Moved);
    beat.sessions.iter().filter(ended).map(|brief| (brief.id.clone(), brief.copy)).collect()
}

impl World {
    /// A controller has judged a list: what ended there has its record there.
    pub(super) fn release(&mut self, number: usize, ended: &[(SessionId, u32)]) {
        for (id, copy) in ended {
            let known = self.workers[number].copies.get_mut(id);
            if let Some(known) = known.filter(|known| known.number == *copy && !known.lives()) {
                known.held = false;
            }
        }
    }

    /// Each session that was ready once is there, or has a record.
    pub(super) fn check_records(&self) {
        for id in &self.promised {
            let live = self.workers.iter().filter(|worker| worker.copies.get(id).is_some_and(Copy::lives));
            let records = self.workers.iter().filter(|worker| worker.records.contains(id));
            let sent = self.sent.get(id).copied().unwrap_or_default();
            let (live, records) = (live.count(), records.count() + sent);
            let most = if self.unknown.contains(id) { 2 } else { 1 };
            assert!(
                (1..=most).contains(&(live + records)),
                "{id} is live {live} times and has {records} records, {sent} of them sent"
            );
        }
    }

    /// Ended sessions whose window is over are forgotten, and their records are sent: but not what nobody has judged yet.
    pub(super) fn send_records(&mut self) {
        let (now, holds) = (self.now, self.holds);
        for number in 0..WORKERS {
            let worker = &mut self.workers[number];
            if !worker.alive {
                continue;
            }
            let is_over = |copy: &Copy| match copy.state {
                State::Ended(reason, at) => {
                    at + WINDOW_MS <= now && !(holds && (copy.held || reason == EndReason::Moved))
                }
                State::Starting | State::Ready => false,
            };
            let over: Vec<SessionId> =
                worker.copies.iter().filter(|(_, copy)| is_over(copy)).map(|(id, _)| id.clone()).collect();
            for id in over {
                let copy = worker.copies.remove(&id);
                let untold = copy.is_some_and(|copy| matches!(copy.state, State::Ended(EndReason::Moved, _)));
                if worker.records.remove(&id) || untold {
                    *self.sent.entry(id.clone()).or_default() += 1;
                    self.trace.push(format!("{now:>7} w{number} sends the record of {id}"));
                }
            }
        }
    }
}
