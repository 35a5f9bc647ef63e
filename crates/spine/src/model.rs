//! The reference model: the same operations on the spine and on plain `Vec`s, and after each poll
//! the two must say the same.
//!
//! `reference` says what a track is, `readers` what each reader must see next, `asks` who is asked
//! for what is not there. `sim` holds the real handles beside them, `write`, `read` and `life` are
//! the operations. A failure names its seed; `AIRWAVE_MODEL_SEED=n` runs that one alone.

mod asks;
mod life;
mod read;
mod readers;
mod reference;
mod sim;
mod stress;
mod tests;
mod write;

/// Group and object.
type Loc = (u64, u64);

/// What went wrong, in words.
type Outcome<T = ()> = Result<T, String>;

macro_rules! same {
    ($what:expr, $real:expr, $model:expr) => {{
        let (real, model) = (&$real, &$model);
        if real != model {
            return Err(format!("{}: the spine says {real:?}, the model {model:?}", $what));
        }
    }};
}
use same;
