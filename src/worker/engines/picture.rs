//! What the stream's thread finds of a source, made into what becomes of its session: the one place where that is decided.
//!
//! ```text
//!   a picture can be begun ──▶ ready · another codec ──▶ the create fails · anything else in the way ──▶ warnings
//! ```

use crate::core::session::{Failure, FailureKind};
use crate::media::rtp::playable::{State, Trouble};
use crate::media::stream_watch::Found;
use crate::worker::engines::News;
use crate::worker::source_trouble::SourceTrouble;

/// What was made of it so far.
#[derive(Debug, Default)]
pub struct PictureWatch {
    /// Whether the present process was said to be ready, or to have failed.
    settled: bool,
    lacks: Option<Trouble>,
    told: Vec<SourceTrouble>,
}

impl PictureWatch {
    /// Another process.
    pub fn begin(&mut self) {
        (self.settled, self.lacks) = (false, None);
    }

    /// Looks at what was found of a process that has to be ready first. `made_one`: it says that it has made a picture.
    pub fn judge(&mut self, found: Found, made_one: bool) -> Vec<News> {
        self.lacks = found.lacks.clone();
        let verdict = match found.process {
            _ if self.settled => None,
            State::Begun if made_one => Some(News::Ready),
            State::Never => {
                found.troubles.iter().find(|(_, trouble)| trouble.is_final()).map(|(_, trouble)| {
                    News::Failed(Failure::new(
                        FailureKind::StreamProcess,
                        format!("the stream cannot be played: {trouble}"),
                    ))
                })
            }
            State::Begun | State::NotYet => None,
        };
        self.settled |= verdict.is_some();
        let mut news = self.warn(found);
        news.extend(verdict);
        news
    }

    /// Looks at what was found of a source whose session is ready without it.
    pub fn warn(&mut self, found: Found) -> Vec<News> {
        if found.troubles == self.told {
            return Vec::new();
        }
        self.told.clone_from(&found.troubles);
        vec![News::Troubles(found.troubles)]
    }

    /// Why the process is not ready, when it runs and sends.
    pub fn lacks(&self) -> Option<String> {
        let lacks = self.lacks.as_ref().filter(|_| !self.settled)?;
        Some(format!("the stream cannot be played: {lacks}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::forwarder::Feeder;

    fn found(process: State, troubles: &[Trouble]) -> Found {
        let troubles = troubles.iter().cloned().map(|trouble| (Feeder::Process, trouble)).collect();
        Found { process, troubles, ..Found::default() }
    }

    #[test]
    fn a_process_is_ready_once_and_what_is_in_the_way_is_told_when_it_changes() {
        let mut watch = PictureWatch::default();
        assert!(watch.judge(found(State::NotYet, &[]), true).is_empty());
        assert!(watch.judge(found(State::Begun, &[]), false).is_empty(), "of the process before");
        assert!(matches!(watch.judge(found(State::Begun, &[]), true)[..], [News::Ready]));
        assert!(watch.judge(found(State::Begun, &[]), true).is_empty());
        let news = watch.judge(found(State::Begun, &[Trouble::BFrames]), true);
        assert!(matches!(&news[..], [News::Troubles(list)] if list.len() == 1), "{news:?}");
        assert!(watch.judge(found(State::Begun, &[Trouble::BFrames]), true).is_empty());
        assert!(
            matches!(&watch.warn(found(State::Begun, &[]))[..], [News::Troubles(list)] if list.is_empty())
        );
    }

    #[test]
    fn what_is_lacking_has_words_until_it_is_there() {
        let mut watch = PictureWatch::default();
        let lacking = Found { lacks: Some(Trouble::NoKeyFrame), ..Found::default() };
        watch.judge(lacking, true);
        assert!(watch.lacks().is_some_and(|words| words.contains("no key frame")), "{:?}", watch.lacks());
        watch.judge(found(State::Begun, &[]), true);
        assert_eq!(watch.lacks(), None);
        watch.begin();
        assert_eq!(watch.lacks(), None, "nothing is known of the next");
    }
}
