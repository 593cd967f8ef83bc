//! Panics in any thread, also those that somebody catches: a server that answers "it panicked" has.

use std::panic::{set_hook, take_hook};
use std::sync::{Mutex, Once};

/// Where the first panic since the last [`take`] was.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Where somebody panicked since the last call, if anybody did.
pub fn take() -> Option<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
            FIRST.lock().unwrap().get_or_insert(place.unwrap_or_default());
            before(panic);
        }));
    });
    FIRST.lock().unwrap().take()
}
