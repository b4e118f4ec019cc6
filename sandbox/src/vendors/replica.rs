//! A replica that lags behind: reads show users and groups as they were some time ago. It knows no single vendor.

use std::collections::VecDeque;
use std::time::Instant;

use super::state::State;
use super::table::Table;

/// Users and groups before each of the latest writes.
#[derive(Debug, Default)]
pub struct Replica {
    before_writes: VecDeque<(Instant, Tables)>,
}

/// Users and groups.
pub type Tables = (Table, Table);

impl Replica {
    /// Keeps users and groups as they are before a write, if reads lag behind.
    pub fn keep(&mut self, state: &State) {
        let lag = state.options.read_lag;
        if lag.is_zero() {
            return;
        }
        while self.before_writes.front().is_some_and(|(at, _)| at.elapsed() > lag) {
            self.before_writes.pop_front();
        }
        self.before_writes.push_back((Instant::now(), (state.users.clone(), state.groups.clone())));
    }

    /// Gives `state` the users and groups that a read shows now, and returns the present ones; `None`: they are the same.
    pub fn swap_in(&self, state: &mut State) -> Option<Tables> {
        let lag = state.options.read_lag;
        let (users, groups) = self.before_writes.iter().find(|(at, _)| at.elapsed() <= lag).map(|(_, shown)| shown)?;
        let users = std::mem::replace(&mut state.users, users.clone());
        Some((users, std::mem::replace(&mut state.groups, groups.clone())))
    }

    /// Gives `state` the present users and groups again.
    pub fn swap_back(state: &mut State, present: Option<Tables>) {
        if let Some((users, groups)) = present {
            (state.users, state.groups) = (users, groups);
        }
    }
}
