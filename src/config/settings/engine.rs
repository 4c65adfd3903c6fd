//! `engines`: media processes of the operator.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::command_template::{Argument, Parameter};

/// `engines.NAME`: a media process, FFmpeg as a rule, whose picture and sound a session shows.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineEntry {
    /// What a request names.
    pub name: String,
    /// `command`: the program (an absolute path) and its arguments up to the outputs, which we append. Never a shell.
    pub command: Vec<Argument>,
    /// `video`: what the process makes of the picture. Default `h264`.
    pub video: VideoCodec,
    /// `video_encoder`: arguments of the encoder. Default: what suits `video` and live streams.
    pub video_encoder: Option<Vec<Argument>>,
    /// `audio`: whether there is sound. Default `probe`.
    pub audio: AudioLeg,
    /// `audio_encoder`: arguments of the encoder. Default: Opus for live streams.
    pub audio_encoder: Option<Vec<Argument>>,
    /// `ingest`: where goes what somebody publishes by WHIP. Default `viewers`.
    pub ingest: Ingest,
    /// `parameters`: what a request may set in the arguments. Default none.
    pub parameters: Vec<Parameter>,
    /// `read`: files and directories that the process may read, and run programs of, besides those that stand in its command.
    /// Default none.
    pub read: Vec<PathBuf>,
    /// `write`: files and directories that it may change. Default none.
    pub write: Vec<PathBuf>,
    /// `stale_timeout`: without a new frame for so long it counts as hung and is restarted. Default 5s.
    pub stale_timeout: Duration,
    /// `restarts`: restarts per session before it ends as `crashed`. Default 5.
    pub restarts: u32,
    /// `restart_backoff`: before the first restart; doubles each time, and a part of it is random. Default 500ms.
    pub restart_backoff: Duration,
}

/// How a media process codes its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264, constrained to what every browser decodes.
    H264,
    /// VP8.
    Vp8,
}

/// Where goes what somebody publishes by WHIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingest {
    /// To viewers, instead of what the process sends.
    Viewers,
    /// Into the process, as its first input. It runs while somebody publishes, and viewers see what it sends.
    Process,
    /// To viewers, and into the process, which has outputs of its own.
    Both,
}

/// Whether a media process has sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioLeg {
    /// Look at the inputs first.
    Probe,
    /// The first input has.
    Yes,
    /// None, or it is not wanted.
    No,
}
