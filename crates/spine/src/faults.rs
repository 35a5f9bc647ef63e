//! Bugs that tests plant, to see that the reference model finds them.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    SkippedWake,
    NewestEvicted,
    GroupIdTwice,
    ObjectTwice,
    ResetLost,
    TermUnchecked,
    CursorBack,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

pub(crate) fn with<R>(fault: Fault, run: impl FnOnce() -> R) -> R {
    PLANTED.set(Some(fault));
    let result = run();
    PLANTED.set(None);
    result
}
