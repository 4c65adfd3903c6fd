//! `engines`: media processes by name, the one section whose keys are the operator's own words.

use std::collections::HashSet;

use serde_yaml::{Mapping, Value as Yaml};

use crate::config::document::{Body, Entry, Node, shown_key};
use crate::config::engine_parameters::Parameters;
use crate::config::kinds::{
    AUDIO_LEGS, FilePath, INGESTS, Kind, List, Number, Scope, Secrets, Span, VIDEO_CODECS,
};
use crate::config::settings::{EngineEntry, Ingest};
use crate::core::command_template::{Argument, Kind as Type, is_name};

/// Names that are engines already.
const BUILT_IN: [&str; 2] = ["moonlight", "demo"];

/// Longest argument in bytes: a long filter graph has one thousand.
const LONGEST_ARGUMENT: usize = 8192;

const COMMAND: List<ArgumentText> =
    List(ArgumentText, "a list of arguments, like [/usr/bin/ffmpeg, -re, -i, /srv/clip.mp4]");
const PATHS: List<FilePath> = List(FilePath, "a list of files and directories, like [/srv/clips]");
const STALE: Span = Span(500, 600_000);
const RESTARTS: Number = Number(0, 1000);
const BACKOFF: Span = Span(10, 60_000);

/// The whole map.
pub struct Engines;

struct ArgumentText;

impl Kind<Vec<EngineEntry>> for Engines {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Vec<EngineEntry>> {
        let entries = match &node.body {
            Body::Map(entries) => entries,
            Body::Null => return Some(Vec::new()),
            Body::Refused => return None,
            _ => {
                scope.wrong(node, format!("expected engines by name, found {}", node.describe()));
                return None;
            }
        };
        let read = |entry| read_engine(entry, scope);
        let engines: Vec<Option<EngineEntry>> = entries.iter().map(read).collect();
        engines.into_iter().collect()
    }

    fn show(&self, value: &Vec<EngineEntry>, secrets: Secrets) -> Option<Yaml> {
        let shown = value.iter().map(|entry| (Yaml::from(entry.name.as_str()), show_engine(entry, secrets)));
        Some(Yaml::Mapping(shown.collect()))
    }
}

fn read_engine(entry: &Entry, scope: &mut Scope<'_>) -> Option<EngineEntry> {
    scope.within(&format!(".{}", shown_key(&entry.key)), |scope| {
        if !is_name(&entry.key) || BUILT_IN.contains(&entry.key.as_str()) {
            let text =
                "is no name for an engine; take a-z 0-9 _ - , a letter first, and neither moonlight nor demo";
            scope.report.wrong(&entry.place, &scope.key, text);
            return None;
        }
        let Body::Map(keys) = &entry.value.body else {
            if !matches!(entry.value.body, Body::Refused) {
                let text =
                    format!("expected command, video, audio and so on, found {}", entry.value.describe());
                scope.report.wrong(&entry.place, &scope.key, text);
            }
            return None;
        };
        let mut engine = EngineEntry::named(&entry.key);
        let sound = keys.iter().map(|key| take(&mut engine, key, scope)).fold(true, |all, sound| all & sound);
        (sound && fits(&engine, entry, scope)).then_some(engine)
    })
}

/// Takes one key; false after a problem.
fn take(engine: &mut EngineEntry, entry: &Entry, scope: &mut Scope<'_>) -> bool {
    let Entry { key, place, value } = entry;
    scope.within(&format!(".{}", shown_key(key)), |scope| match key.as_str() {
        "command" => stored(&mut engine.command, COMMAND.read(value, scope)),
        "video" => stored(&mut engine.video, VIDEO_CODECS.read(value, scope)),
        "video_encoder" => stored(&mut engine.video_encoder, COMMAND.read(value, scope).map(Some)),
        "audio" => stored(&mut engine.audio, AUDIO_LEGS.read(value, scope)),
        "audio_encoder" => stored(&mut engine.audio_encoder, COMMAND.read(value, scope).map(Some)),
        "ingest" => stored(&mut engine.ingest, INGESTS.read(value, scope)),
        "parameters" => stored(&mut engine.parameters, Parameters.read(value, scope)),
        "read" => stored(&mut engine.read, PATHS.read(value, scope)),
        "write" => stored(&mut engine.write, PATHS.read(value, scope)),
        "stale_timeout" => stored(&mut engine.stale_timeout, STALE.read(value, scope)),
        "restarts" => stored(&mut engine.restarts, RESTARTS.read(value, scope)),
        "restart_backoff" => stored(&mut engine.restart_backoff, BACKOFF.read(value, scope)),
        _ => {
            let text = "unknown key; an engine has command, video, video_encoder, audio, audio_encoder, ingest, \
                        parameters, read, write, stale_timeout, restarts and restart_backoff";
            scope.report.wrong(place, &scope.key, text);
            false
        }
    })
}

fn stored<T>(slot: &mut T, value: Option<T>) -> bool {
    let sound = value.is_some();
    value.into_iter().for_each(|value| *slot = value);
    sound
}

/// What must hold between the keys of one engine.
fn fits(engine: &EngineEntry, entry: &Entry, scope: &mut Scope<'_>) -> bool {
    let mut sound = true;
    let mut wrong = |suffix: &str, text: String| {
        scope.within(suffix, |scope| scope.report.wrong(&entry.place, &scope.key, text));
        sound = false;
    };
    match engine.command.first() {
        None => wrong(".command", "missing; give the program and its arguments as a list".into()),
        Some(program) if program.parameters().next().is_some() || !program.to_string().starts_with('/') => {
            wrong(".command[0]", "expected the absolute path of a program, without parameters".into());
        }
        Some(_) => {}
    }
    if engine.ingest == Ingest::Both {
        for (encoder, suffix) in
            [(&engine.video_encoder, ".video_encoder"), (&engine.audio_encoder, ".audio_encoder")]
        {
            if encoder.is_some() {
                wrong(
                    suffix,
                    "encodes nothing with `ingest: both`; put it into an output of the command".into(),
                );
            }
        }
    }
    let arguments = || {
        let encoders = [&engine.video_encoder, &engine.audio_encoder].into_iter().flatten().flatten();
        engine.command.iter().chain(encoders)
    };
    let known: HashSet<&str> = engine.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    if arguments().flat_map(Argument::parameters).any(|name| !known.contains(name)) {
        wrong("", "an argument holds a {parameter} that is not among `parameters`; add it there".into());
    }
    for parameter in &engine.parameters {
        let key = format!(".parameters.{}", parameter.name);
        let holders: Vec<&Argument> =
            arguments().filter(|argument| argument.parameters().any(|name| name == parameter.name)).collect();
        if holders.is_empty() {
            wrong(&key, "is in no argument; use it or remove it".into());
        }
        if matches!(parameter.kind, Type::Url(_)) && !holders.iter().all(|each| each.is_whole_parameter()) {
            wrong(&key, "is a URL and only a part of an argument; make it a whole one".into());
        }
        // Its text could be any host, and no list says which.
        let in_host =
            holders.iter().any(|argument| argument.parameters_in_host().contains(&&*parameter.name));
        if in_host && matches!(parameter.kind, Type::Text(_)) {
            wrong(&key, "is a text within the host of a URL; make it a choice, or the whole URL a parameter of type url".into());
        }
        let leads = holders.iter().any(|argument| argument.first_parameter() == Some(&parameter.name));
        let values = match &parameter.kind {
            Type::Choice(values) => values.as_slice(),
            _ => &[],
        };
        if leads && values.iter().chain(&parameter.default).any(|value| value.starts_with('-')) {
            wrong(&key, "begins an argument, so no value may begin with `-`: it would be an option".into());
        }
    }
    sound
}

fn show_engine(engine: &EngineEntry, secrets: Secrets) -> Yaml {
    let mut map = Mapping::new();
    let mut put = |key: &str, value: Option<Yaml>| {
        value.into_iter().for_each(|value| {
            map.insert(key.into(), value);
        });
    };
    put("command", COMMAND.show(&engine.command, secrets));
    put("video", VIDEO_CODECS.show(&engine.video, secrets));
    put("video_encoder", engine.video_encoder.as_ref().and_then(|list| COMMAND.show(list, secrets)));
    put("audio", AUDIO_LEGS.show(&engine.audio, secrets));
    put("audio_encoder", engine.audio_encoder.as_ref().and_then(|list| COMMAND.show(list, secrets)));
    put("ingest", INGESTS.show(&engine.ingest, secrets));
    put("parameters", Parameters.show(&engine.parameters, secrets));
    put("read", PATHS.show(&engine.read, secrets));
    put("write", PATHS.show(&engine.write, secrets));
    put("stale_timeout", STALE.show(&engine.stale_timeout, secrets));
    put("restarts", RESTARTS.show(&engine.restarts, secrets));
    put("restart_backoff", BACKOFF.show(&engine.restart_backoff, secrets));
    Yaml::Mapping(map)
}

impl Kind<Argument> for ArgumentText {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Argument> {
        let text = scope.text(node, "an argument; put quotes around it")?;
        if text.len() > LONGEST_ARGUMENT || text.chars().any(char::is_control) {
            let expected = format!("expected at most {LONGEST_ARGUMENT} bytes without control characters");
            scope.wrong(node, expected);
            return None;
        }
        Argument::parse(text).map_err(|trouble| scope.wrong(node, trouble)).ok()
    }

    fn show(&self, value: &Argument, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::print;
    use crate::config::reload;
    use crate::config::settings::{AudioLeg, Ingest, Role, Settings, VideoCodec};
    use crate::config::tests::{MINIMAL, loaded, refused, unmasked};

    fn with(engines: &str) -> Settings {
        loaded(&format!("{MINIMAL}engines:\n{engines}"), Role::Worker)
    }

    const FULL: &str = r#"  camera:
    command: [/usr/bin/ffmpeg, -rtsp_transport, tcp, -i, "{url}", -vf, "drawtext=text={title}:fontsize={size}"]
    video: vp8
    video_encoder: [-c:v, libvpx, -b:v, "{rate}k"]
    audio: no
    parameters:
      url: {type: url, schemes: [rtsp], allow_networks: [10.20.0.0/16], allow_hosts: [cam.example]}
      title: {type: text, max_length: 20, default: Hall}
      size: {type: integer, min: 8, max: 72, default: 24}
      rate: {type: number, min: 100, max: 8000.5, default: 1000}
    read: [/srv/clips, /opt/ffmpeg]
    write: [/srv/recordings]
    stale_timeout: 8s
    restarts: 3
    restart_backoff: 1s
"#;

    // SPEC 8: `engines.NAME` in the worker's configuration: a list of arguments, never a shell;
    // every mistake with key and line
    // Also: `a_command_is_all_that_an_engine_needs`, `mistakes_are_named_with_their_key_and_line`,
    // `every_type_has_its_own_bounds`
    #[test]
    fn an_entry_is_read_whole_and_printed_so_that_it_loads_again() {
        let settings = with(FULL);
        let engine = &settings.engines[0];
        assert_eq!(
            (engine.name.as_str(), engine.video, engine.audio),
            ("camera", VideoCodec::Vp8, AudioLeg::No)
        );
        assert_eq!((engine.command.len(), engine.parameters.len(), engine.restarts), (7, 4, 3));
        assert_eq!((engine.read.len(), engine.write.len()), (2, 1));
        assert_eq!(engine.stale_timeout, Duration::from_secs(8));
        let printed = print(&settings).unwrap();
        assert_eq!(loaded(&unmasked(&printed), Role::Worker).engines, settings.engines, "{printed}");
    }

    #[test]
    fn a_command_is_all_that_an_engine_needs() {
        let settings = with("  bars: {command: [/usr/bin/ffmpeg, -f, lavfi, -i, testsrc2]}\n");
        let engine = &settings.engines[0];
        assert_eq!((engine.video, engine.audio), (VideoCodec::H264, AudioLeg::Probe));
        assert!(loaded(&format!("{MINIMAL}engines: {{}}\n"), Role::Worker).engines.is_empty());
        let outcome = reload::changes(&loaded(MINIMAL, Role::Worker), &settings);
        assert_eq!((outcome.changed, outcome.settings.engines.len()), (vec!["engines"], 1));
    }

    #[test]
    fn what_is_published_goes_to_viewers_unless_told_otherwise() {
        let ingest = |text: &str| with(&format!("  a: {{command: [/x]{text}}}\n")).engines[0].ingest;
        assert_eq!(ingest(""), Ingest::Viewers);
        assert_eq!(ingest(", ingest: process"), Ingest::Process);
        assert_eq!(ingest(", ingest: both"), Ingest::Both);
        let printed = print(&with("  a: {command: [/x], ingest: both}\n")).unwrap();
        assert_eq!(loaded(&unmasked(&printed), Role::Worker).engines[0].ingest, Ingest::Both, "{printed}");
    }

    #[test]
    fn lists_that_would_open_our_own_state_are_refused() {
        for list in ["/", "/tmp", "/tmp/hydraneckwebrtc-sessions/x"] {
            let entry = format!("engines:\n  a: {{command: [/x], write: [{list}]}}\n");
            assert_eq!(refused(&format!("{MINIMAL}{entry}"), Role::Worker), ["2 engines"], "{list}");
        }
        assert_eq!(with("  a: {command: [/x], read: [/tmp/films]}\n").engines[0].read.len(), 1);
    }

    #[test]
    fn mistakes_are_named_with_their_key_and_line() {
        for (engines, expected) in [
            ("  [x]", vec!["3 engines"]),
            ("  Bars: {command: [/x]}", vec!["3 engines.Bars"]),
            ("  demo: {command: [/x]}", vec!["3 engines.demo"]),
            ("  a: [/x]", vec!["3 engines.a"]),
            ("  a: {}", vec!["3 engines.a.command"]),
            ("  a: {command: /x}", vec!["3 engines.a.command"]),
            ("  a: {command: [/x], ingest: file}", vec!["3 engines.a.ingest"]),
            (
                "  a: {command: [/x], ingest: both, audio_encoder: [-c:a, copy]}",
                vec!["3 engines.a.audio_encoder"],
            ),
            ("  a: {command: [ffmpeg]}", vec!["3 engines.a.command[0]"]),
            ("  a: {command: [\"/{b}\"]}", vec!["3 engines.a.command[0]", "3 engines.a"]),
            ("  a: {command: [/x, \"{\"]}", vec!["3 engines.a.command[1]"]),
            ("  a:\n    command: [/x, \"{b}\"]\n", vec!["3 engines.a"]),
            (
                "  a:\n    command: [/x]\n    shell: yes\n    video: av1\n",
                vec!["5 engines.a.shell", "6 engines.a.video"],
            ),
            ("  a:\n    command: [/x]\n    write: [clips]\n", vec!["5 engines.a.write[0]"]),
            ("  a:\n    command: [/x]\n    stale_timeout: 1ms\n", vec!["5 engines.a.stale_timeout"]),
            (
                "  a:\n    command: [/x, \"{b}\"]\n    parameters:\n      b: {type: regex}\n",
                vec!["6 engines.a.parameters.b.type"],
            ),
            (
                "  a:\n    command: [/x]\n    parameters:\n      b: {type: text}\n",
                vec!["3 engines.a.parameters.b"],
            ),
            (
                "  a:\n    command: [/x, \"-i={b}\"]\n    parameters:\n      b: {type: url, schemes: [rtsp]}\n",
                vec!["3 engines.a.parameters.b"],
            ),
            (
                "  a:\n    command: [/x, \"rtsp://{b}/x\"]\n    parameters:\n      b: {type: text}\n",
                vec!["3 engines.a.parameters.b"],
            ),
            (
                "  a:\n    command: [/x, \"{b}\"]\n    parameters:\n      b: {type: choice, values: [x, -f]}\n",
                vec!["3 engines.a.parameters.b"],
            ),
        ] {
            let found = refused(&format!("{MINIMAL}engines:\n{engines}\n"), Role::Worker);
            assert_eq!(found, expected, "{engines}");
        }
    }
}
