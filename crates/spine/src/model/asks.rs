//! Who is asked for what is not there: broadcasts, tracks, ranges of the past.

use super::Loc;
use crate::{Absence, LookupError, Order};

/// What is asked for; `u64` is the broadcast's serial number, `usize` a path or a track name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Broadcast(usize),
    Track(u64, usize),
    Fetch(u64, usize, Loc, Loc, Order),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Object(usize),
    Gap(u64, u64, Absence),
    End,
}

#[derive(Debug)]
pub(super) struct Ask {
    pub(super) kind: Kind,
    pub(super) outcome: Option<Result<(), LookupError>>,
    pub(super) deadline: u64,
    tried: Vec<u64>,
    pub(super) answers: Vec<Answer>,
    /// Fetch cursors that read the answer.
    readers: usize,
    /// A responder has it in hand and has not answered.
    pub(super) held: bool,
    pub(super) producing: bool,
    freed: bool,
}

/// All requests ever made, and the responders' queues, cheapest first.
#[derive(Default)]
pub(super) struct Asks {
    pub(super) all: Vec<Ask>,
    pub(super) queues: Vec<(u64, Vec<usize>)>,
    pub(super) queue_max: usize,
}

impl Asks {
    fn join(&self, kind: Kind, alive: impl Fn(usize, &Ask) -> bool) -> Option<usize> {
        let found = self.all.iter().enumerate().rev().find(|(i, a)| a.kind == kind && alive(*i, a));
        found.map(|(i, _)| i)
    }

    fn add(&mut self, kind: Kind, deadline: u64) -> usize {
        self.all.push(Ask {
            kind,
            outcome: None,
            deadline,
            tried: Vec::new(),
            answers: Vec::new(),
            readers: 0,
            held: false,
            producing: false,
            freed: false,
        });
        let ask = self.all.len() - 1;
        self.offer(ask);
        ask
    }

    /// Looks a broadcast or a track up.
    pub(super) fn lookup(&mut self, kind: Kind, deadline: u64) -> usize {
        if let Some(ask) = self.join(kind, |_, a| a.outcome.is_none()) {
            self.all[ask].deadline = self.all[ask].deadline.max(deadline);
            return ask;
        }
        self.add(kind, deadline)
    }

    /// A fetch cursor asks: it joins a request that somebody still holds.
    pub(super) fn fetch(&mut self, kind: Kind, deadline: u64) -> usize {
        let queued = |ask: usize| self.queues.iter().any(|(_, q)| q.contains(&ask));
        let there = self.join(kind, |i, a| a.readers > 0 || a.held || queued(i));
        let ask = there.unwrap_or_else(|| self.add(kind, deadline));
        self.all[ask].readers += 1;
        ask
    }

    pub(super) fn leave(&mut self, ask: usize) {
        self.all[ask].readers -= 1;
    }

    pub(super) fn offer(&mut self, ask: usize) {
        if self.all[ask].outcome.is_some() {
            return;
        }
        for (id, queue) in &mut self.queues {
            if self.all[ask].tried.contains(id) {
                continue;
            }
            self.all[ask].tried.push(*id);
            if queue.len() >= self.queue_max {
                queue.retain(|ask| self.all[*ask].outcome.is_none());
            }
            if queue.len() < self.queue_max {
                queue.push(ask);
                return;
            }
        }
        self.all[ask].outcome = Some(Err(LookupError::NotFound));
    }

    pub(super) fn resolve(&mut self, kind: Kind, outcome: Result<(), LookupError>) {
        for ask in self.all.iter_mut().filter(|a| a.kind == kind && a.outcome.is_none()) {
            ask.outcome = Some(outcome);
        }
    }

    /// The broadcast is over: its lookups are answered.
    pub(super) fn close(&mut self, serial: u64, why: crate::Close) {
        for ask in self.all.iter_mut().filter(|a| a.outcome.is_none()) {
            if matches!(ask.kind, Kind::Track(s, _) if s == serial) {
                ask.outcome = Some(Err(LookupError::Closed(why)));
            }
        }
    }

    /// The broadcast is gone: nobody is asked about it any more.
    pub(super) fn forget(&mut self, serial: u64) {
        for ask in self.all.iter_mut().filter(|a| a.outcome.is_none()) {
            if matches!(ask.kind, Kind::Track(s, _) | Kind::Fetch(s, ..) if s == serial) {
                ask.outcome = Some(Err(LookupError::NotFound));
            }
        }
    }

    /// What the responder at `at` gets next.
    pub(super) fn pop(&mut self, at: usize) -> Option<usize> {
        let queue = &mut self.queues[at].1;
        while !queue.is_empty() {
            let ask = queue.remove(0);
            if self.all[ask].outcome.is_none() {
                self.all[ask].held = true;
                return Some(ask);
            }
        }
        None
    }

    pub(super) fn decline(&mut self, ask: usize) {
        self.all[ask].held = false;
        self.offer(ask);
    }

    pub(super) fn answer(
        &self,
        ask: usize,
        read: usize,
    ) -> (Option<Result<(), LookupError>>, Option<Answer>) {
        let ask = &self.all[ask];
        (ask.outcome, ask.answers.get(read).copied())
    }

    /// Answers that nobody can read any more: the objects to let go.
    pub(super) fn free(&mut self, ask: usize) -> Vec<usize> {
        let ask = &mut self.all[ask];
        if ask.readers > 0 || ask.producing || ask.freed || ask.outcome.is_none() {
            return Vec::new();
        }
        ask.freed = true;
        let objects = ask.answers.iter().filter_map(|a| match a {
            Answer::Object(object) => Some(*object),
            _ => None,
        });
        objects.collect()
    }
}
