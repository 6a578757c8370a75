//! The command line of all tools: the rules of Go's package flag on top of clap.
//!
//! * A flag has one dash or two: `-topic t`, `--topic t`, `-topic=t`.
//! * The argument behind a flag that takes a value is its value, also if it begins with a dash.
//! * A switch may have a value: `-json=false`.
//! * Of a flag that has one value, the last one counts.
//! * Arguments need not be UTF-8: a file name may consist of any bytes. For other values that is an
//!   error.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, Parser, error::ErrorKind};

/// Parses the command line. Exits with code 2 if it is wrong.
pub(crate) fn parse<F: Parser>() -> F {
    try_parse(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Parses arguments; the first is the name of the program.
pub(crate) fn try_parse<F: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<F, clap::Error> {
    let mut command = F::command().args_override_self(true);
    // Adds the flags for help and version.
    command.build();
    let arguments = with_two_dashes(&command, arguments.into_iter().map(Into::into));
    let parsed = command.try_get_matches_from_mut(&arguments);
    let parsed = parsed.and_then(|mut matches| F::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::InvalidUtf8 => command.error(ErrorKind::InvalidUtf8, not_utf8(&arguments)),
        _ => error.format(&mut command),
    })
}

/// Spells every flag as clap expects it: `--name`, or `--name=value`.
fn with_two_dashes(
    command: &Command,
    mut arguments: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = arguments.next().into_iter().collect();
    while let Some(argument) = arguments.next() {
        let Some((name, value)) = name_and_value(&argument) else {
            spelled.push(argument);
            continue;
        };
        if name.is_empty() {
            // `--` ends the flags.
            spelled.push(argument);
            spelled.extend(arguments);
            break;
        }
        let flag = find(command, &name);
        if flag.is_some_and(is_switch)
            && let Some(is_on) = value.as_deref().and_then(boolean)
        {
            let switch = OsString::from(format!("--{name}"));
            spelled.retain(|earlier| *earlier != switch);
            spelled.extend(is_on.then_some(switch));
            continue;
        }
        let has_two_dashes = argument.as_encoded_bytes().starts_with(b"--");
        let mut long = OsString::from(if has_two_dashes { "" } else { "-" });
        long.push(argument);
        if value.is_none()
            && flag.is_some_and(takes_next)
            && let Some(next) = arguments.next()
        {
            long.push("=");
            long.push(next);
        }
        spelled.push(long);
    }
    spelled
}

/// The name of a flag with one dash or two, and the value behind a `=`. `None` if the argument is
/// not a flag, or is one of clap's own with a single letter.
fn name_and_value(argument: &OsStr) -> Option<(String, Option<String>)> {
    let text = argument.to_string_lossy();
    if ["-", "-h", "-V"].contains(&&*text) {
        return None;
    }
    let name = text.strip_prefix('-')?;
    let name = name.strip_prefix('-').unwrap_or(name);
    Some(match name.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (name.to_owned(), None),
    })
}

/// The flag with this name, of the command or of one of its subcommands.
fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let mut flags = command.get_arguments();
    let mut subcommands = command.get_subcommands();
    flags
        .find(|flag| flag.get_long() == Some(name))
        .or_else(|| subcommands.find_map(|subcommand| find(subcommand, name)))
}

fn is_switch(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::SetTrue)
}

/// Whether the next argument is the value of this flag.
fn takes_next(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// A boolean value as Go reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Names the arguments that are not UTF-8, of a flag only the name: its value may be a secret.
fn not_utf8(arguments: &[OsString]) -> String {
    let wrong = arguments
        .iter()
        .filter(|argument| argument.to_str().is_none());
    let names = wrong.map(|argument| match name_and_value(argument) {
        Some((name, Some(_))) => format!("the value of --{name} is not UTF-8"),
        _ => format!("argument {argument:?} is not UTF-8"),
    });
    names.collect::<Vec<_>>().join("; ")
}
