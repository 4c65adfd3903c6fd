//! Arguments → one request. Errors say what is wrong and what to type instead.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::verbs::{self, Flag, Operand, Sets, VERBS, Verb};
use crate::config::listen_address;
use crate::config::settings::{ListenAddress, Role};
use crate::daemon::DemoEngine;

/// What is asked for.
#[derive(Clone, Copy)]
pub enum Request {
    /// Run a role.
    Run(Role),
    /// Run the demonstration.
    Demo,
    /// Check a configuration.
    Validate,
    /// Print the effective configuration.
    PrintConfig,
    /// Print the sample configuration of a role.
    PrintSample(Role),
    /// Print the version.
    Version,
    /// Print help, for one verb or for all.
    Help(Option<&'static Verb>),
}

/// A request and its flags.
pub struct Parsed {
    /// What is asked for.
    pub request: Request,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--role`
    pub role: Option<Role>,
    /// `--listen`
    pub listen: Option<ListenAddress>,
    /// `--force-relay`
    pub force_relay: bool,
    /// `--engine`
    pub engine: DemoEngine,
}

/// Parses the arguments (without the program's name).
pub fn parse(arguments: Vec<OsString>) -> Result<Parsed, String> {
    let mut parser = Parser::from_args(arguments);
    let mut verb: Option<&'static Verb> = None;
    let mut operand: Option<OsString> = None;
    let mut parsed = Parsed {
        request: Request::Help(None),
        config: None,
        role: None,
        listen: None,
        force_relay: false,
        engine: DemoEngine::DEFAULT,
    };
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => {
                return Ok(Parsed { request: Request::Help(verb), ..parsed });
            }
            Arg::Long("version") | Arg::Short('V') if verb.is_none() => {
                return Ok(Parsed { request: Request::Version, ..parsed });
            }
            Arg::Long(name) => {
                let flag = find_flag(verb, name)?;
                let value =
                    if flag.value.is_empty() { OsString::new() } else { parser.value().map_err(usage)? };
                set(&mut parsed, flag, value)?;
            }
            Arg::Short(letter) => return Err(usage(format!("unknown flag -{}", letter.escape_default()))),
            Arg::Value(word) => match verb {
                None => verb = Some(find_verb(&word)?),
                Some(verb) if verb.operand != Operand::Nothing && operand.is_none() => operand = Some(word),
                Some(verb) => return Err(usage(format!("`{}` takes no further argument", verb.name))),
            },
        }
    }
    let verb = verb.ok_or_else(|| usage("a verb is missing"))?;
    Ok(Parsed { request: request(verb, operand)?, ..parsed })
}

/// What a verb asks for with the word that follows it.
fn request(verb: &'static Verb, operand: Option<OsString>) -> Result<Request, String> {
    match (verb.operand, operand) {
        (Operand::Verb, Some(word)) => Ok(Request::Help(Some(find_verb(&word)?))),
        (Operand::Role, Some(word)) => match word.to_str().and_then(role) {
            Some(role) => Ok(Request::PrintSample(role)),
            None => Err(usage(format!("`{}` takes controller or worker, not {word:?}", verb.name))),
        },
        (Operand::Role, None) => {
            Err(usage(format!("`{0}` needs a role: `{0} controller` or `{0} worker`", verb.name)))
        }
        (Operand::Verb | Operand::Nothing, _) => Ok(verb.request),
    }
}

fn role(word: &str) -> Option<Role> {
    [Role::Controller, Role::Worker].into_iter().find(|role| role.name() == word)
}

fn find_verb(word: &OsString) -> Result<&'static Verb, String> {
    let known = || VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>().join(", ");
    word.to_str()
        .and_then(verbs::find)
        .ok_or_else(|| usage(format!("unknown verb {word:?}; there are: {}", known())))
}

fn find_flag(verb: Option<&'static Verb>, name: &str) -> Result<&'static Flag, String> {
    let Some(verb) = verb else {
        return Err(usage(format!("--{} stands before the verb; the verb comes first", name.escape_debug())));
    };
    let flag = verb.flags.iter().find(|flag| flag.name == name);
    flag.ok_or_else(|| usage(format!("`{}` has no flag --{}", verb.name, name.escape_debug())))
}

fn set(parsed: &mut Parsed, flag: &Flag, value: OsString) -> Result<(), String> {
    let text = value.to_string_lossy();
    match flag.sets {
        Sets::Config => parsed.config = Some(PathBuf::from(value)),
        Sets::Role => {
            parsed.role = Some(role(&text).ok_or_else(|| usage("--role is controller or worker"))?);
        }
        Sets::ForceRelay => parsed.force_relay = true,
        Sets::Engine => {
            let known =
                [DemoEngine::Clip, DemoEngine::Moonlight].into_iter().find(|engine| engine.name() == text);
            parsed.engine = known.ok_or_else(|| usage("--engine is demo or moonlight"))?;
        }
        Sets::Listen => {
            let address = listen_address(&text);
            parsed.listen = Some(address.ok_or_else(|| usage("--listen is an address like 127.0.0.1:8080"))?);
        }
    }
    Ok(())
}

fn usage(error: impl std::fmt::Display) -> String {
    format!("hydraneckwebrtc: {error}; `hydraneckwebrtc help` shows what there is")
}
