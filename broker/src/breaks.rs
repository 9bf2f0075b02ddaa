//! Steps of a cut at which tests break it off, as a failing disk would.

use carrick_link::cut::CutStep;
use carrick_storage::log::LogError;

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "it fails in tests only")]
pub fn here(step: CutStep) -> Result<(), LogError> {
    step.reached();
    Ok(())
}

#[cfg(test)]
thread_local! {
    /// This many places of this thread are passed before one breaks, if any does.
    static PASSED_BEFORE: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
type Act = (CutStep, Box<dyn FnOnce()>);

#[cfg(test)]
thread_local! {
    /// Called when this thread passes a step.
    static ACT: std::cell::Cell<Option<Act>> = const { std::cell::Cell::new(None) };
}

/// `act` happens when this thread passes `step` for the first time.
#[cfg(test)]
pub fn act_at(step: CutStep, act: impl FnOnce() + 'static) {
    ACT.set(Some((step, Box::new(act))));
}

/// Breaks off this thread's work at one place, after this many have been passed.
#[cfg(test)]
pub fn after(places: u32) {
    PASSED_BEFORE.set(Some(places));
}

/// Breaks nothing off any more; true if something would still have been.
#[cfg(test)]
pub fn none() -> bool {
    PASSED_BEFORE.take().is_some()
}

#[cfg(test)]
pub fn here(step: CutStep) -> Result<(), LogError> {
    step.reached();
    match ACT.take() {
        Some((at, act)) if at == step => act(),
        other => ACT.set(other),
    }
    match PASSED_BEFORE.get() {
        None => Ok(()),
        Some(0) => {
            PASSED_BEFORE.set(None);
            let error = std::io::Error::other("broken off by a test");
            let error = std::sync::Arc::new(error);
            Err(LogError::Faulted(error))
        }
        Some(left) => {
            PASSED_BEFORE.set(Some(left - 1));
            Ok(())
        }
    }
}
