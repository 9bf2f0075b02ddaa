//! What happens at the fake source while it is asked.

use super::FakeSource;

/// What happens before a question is answered.
pub(super) struct Event {
    questions_before: u64,
    act: Box<dyn FnOnce(&FakeSource) + Send>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in {} questions", self.questions_before)
    }
}

impl FakeSource {
    /// `act` runs before a request for metadata or ends is answered, after that many others.
    pub fn happens_after(&self, questions: u64, act: impl FnOnce(&FakeSource) + Send + 'static) {
        *self.event.lock() = Some(Event {
            questions_before: questions,
            act: Box::new(act),
        });
    }

    /// A question for metadata or ends has come.
    pub(super) fn asked(&self) {
        let mut event = self.event.lock();
        let due = match event.as_mut() {
            Some(event) if event.questions_before > 0 => {
                event.questions_before -= 1;
                None
            }
            _ => event.take(),
        };
        drop(event);
        if let Some(event) = due {
            (event.act)(self);
        }
    }
}
