//! What a session leaves on its body, noted as it happens, and how it is taken away at the end.

use crate::worker::reach::Reach;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::types::CreateRequest;
use crate::body::left::{Attempt, Left, Wishes};
use crate::config::settings::Settings;
use crate::core::ids::{BodyAddr, SessionId};
use crate::engine::moonlight::pairing::Known;
use crate::worker::bodies::Bodies;

/// Filled by the set-up thread as it goes, emptied by the supervisor at the end.
pub struct OnBody {
    bodies: Arc<Bodies>,
    body: BodyAddr,
    file: String,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    left: Left,
    /// It stands on disk.
    noted: bool,
    /// Something ran that could not be closed: what runs at the end is not ours.
    foreign: bool,
    /// The pairing that it streams by.
    known: Option<Known>,
}

impl OnBody {
    /// Nothing yet.
    pub fn new(bodies: Arc<Bodies>, body: BodyAddr, (session, copy): (&SessionId, u32)) -> OnBody {
        OnBody { bodies, body, file: Bodies::file_of(session, copy), now: Mutex::default() }
    }

    /// A pairing is about to begin.
    pub fn note_attempt(&self, name: &str) {
        self.change(|now| now.left.clients.push(Attempt { name: name.to_owned(), paired: false }));
    }

    /// It came to its end.
    pub fn note_paired(&self, name: &str) {
        for client in self.now().left.clients.iter_mut().filter(|client| client.name == name) {
            client.paired = true;
        }
    }

    /// What runs on the body could not be closed.
    pub fn note_foreign(&self) {
        self.now().foreign = true;
    }

    /// A launch was asked for. To be noted before the call: one whose answer is lost may have worked.
    pub fn note_launch(&self) {
        self.change(|now| now.left.launched = true);
    }

    /// We add this application to Sunshine's list.
    pub fn note_app(&self, name: &str) {
        self.change(|now| now.left.added_app = Some(name.to_owned()));
    }

    /// The pages of the session stream this application by this pairing.
    pub fn note_page(&self, app: u64, known: Known) {
        let mut now = self.now();
        now.left.app = (!now.foreign).then_some(app);
        now.known = Some(known);
    }

    /// The session is ready: what was added to Sunshine's list stays for the next time.
    pub fn note_ready(&self) {
        let added = self.now().left.added_app.is_some();
        if added {
            self.change(|now| now.left.added_app = None);
        }
    }

    /// Somebody watches, so the application runs.
    pub fn note_streaming(&self) {
        let news = {
            let now = self.now();
            !now.left.streamed && now.left.app.is_some()
        };
        if news {
            self.change(|now| now.left.streamed = true);
        }
    }

    /// Whether a pairing of ours is to be kept, and which.
    pub fn known(&self) -> Option<Known> {
        self.now().known.clone()
    }

    /// Takes it away, best effort; `keep` stays paired. What did not work is returned, and tried again later.
    pub fn leave(&self, request: &CreateRequest, settings: &Settings, keep: Option<&str>) -> Vec<String> {
        let mut now = self.now();
        if now.left.is_nothing() && !now.noted {
            return Vec::new();
        }
        let wishes = Wishes { close_app: settings.sessions.close_app, keep, late: false };
        let troubles = now.left.take_away(Reach::asked(request, settings).doors(), wishes);
        if now.left.is_nothing() {
            self.bodies.forget(&self.file);
        } else {
            self.bodies.adopt(&self.file, self.body, now.left.clone());
        }
        troubles
    }

    /// The session goes on at another worker, to which belongs what runs there. Its client stays for now: a Sunshine whose last
    /// client is unpaired may close what runs. The next worker unpairs it once it has paired itself; where none comes, all is taken away.
    pub fn depart(&self, keep: Option<&str>) {
        let mut now = self.now();
        now.left.clients.retain(|client| keep != Some(client.name.as_str()));
        match now.left.is_nothing() {
            true => self.bodies.forget(&self.file),
            false => self.bodies.adopt_later(&self.file, self.body, now.left.clone()),
        }
    }

    /// The session did not arrive here: what runs on the body is still its own.
    pub fn hand_over(&self) {
        self.now().left.hand_over();
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        let mut now = self.now();
        change(&mut now);
        now.noted = true;
        self.bodies.note(&self.file, self.body, &now.left);
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
