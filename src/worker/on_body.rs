//! What a session leaves on its body, and how it is taken away again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::api::types::CreateRequest;
use crate::body::apps;
use crate::body::hydrabody::Hydrabody;
use crate::body::sunshine::{Credentials, Sunshine};
use crate::config::settings::Settings;

/// Filled by the set-up thread as it goes, emptied by the supervisor at the end.
#[derive(Debug, Default)]
pub struct OnBody {
    launched: AtomicBool,
    added_app: Mutex<Option<String>>,
}

impl OnBody {
    /// A launch was asked for. To be noted before the call: one whose answer is lost may have worked.
    pub fn note_launch(&self) {
        self.launched.store(true, Ordering::Release);
    }

    /// We added this application to Sunshine's list.
    pub fn note_app(&self, name: &str) {
        *self.added_app.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    /// Stops what was launched. An application that we added stays for the next time, unless the create failed. Best
    /// effort: returns what did not work.
    pub fn leave(&self, request: &CreateRequest, settings: &Settings, create_failed: bool) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.launched.swap(false, Ordering::AcqRel)
            && let Err(error) = hydrabody(request, settings).stop()
        {
            troubles.push(format!("the experience could not be stopped: {error}"));
        }
        let added = self.added_app.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(name) = added.filter(|_| create_failed)
            && let Err(error) = apps::remove(&sunshine(request, settings), &name)
        {
            troubles.push(format!("the application stays in Sunshine's list: {error}"));
        }
        troubles
    }
}

/// The body's Sunshine, with the request's credentials or the configured ones.
pub fn sunshine(request: &CreateRequest, settings: &Settings) -> Sunshine {
    let credentials = Credentials {
        username: request.sunshine_user.clone().unwrap_or_else(|| settings.sunshine.username.clone()),
        password: request.sunshine_pass.clone().unwrap_or_else(|| settings.sunshine.password.clone()),
    };
    let (body, bodies) = (request.body, &settings.bodies);
    let pin = settings.sunshine.pin_of(body);
    Sunshine::new(body, bodies.management_port, &credentials, pin, bodies.call_timeout)
}

/// The body's hydrabody.
pub fn hydrabody(request: &CreateRequest, settings: &Settings) -> Hydrabody {
    let bodies = &settings.bodies;
    Hydrabody::new(request.body, bodies.hydrabody_port, &bodies.launch_path, bodies.call_timeout)
}
