//! The commands of a consumer: bare lines. Their checks begin with the state of the connection.

use std::time::Duration;

use super::{
    Action, Limits, Line, Situation, Stage, Stop, base10, go_milliseconds, go_quote, refused,
    valid_name,
};

const ID_LENGTH: usize = 16;

pub(super) fn subscribe<'a>(line: Line<'a>, situation: Situation) -> Result<Action<'a>, Stop<'a>> {
    if situation.stage != Stage::Init {
        return impossible(line);
    }
    if !situation.heartbeats {
        return Ok(Action::Impossible(
            "E_INVALID cannot SUB with heartbeats disabled".into(),
        ));
    }
    let (Some(topic), Some(channel)) = (line.parameter(1), line.parameter(2)) else {
        return refused("E_INVALID SUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        return refused(format!(
            "E_BAD_TOPIC SUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    let Some(channel) = valid_name(channel) else {
        return refused(format!(
            "E_BAD_CHANNEL SUB channel name {} is not valid",
            go_quote(channel)
        ));
    };
    Ok(Action::Subscribe { topic, channel })
}

pub(super) fn ready<'a>(
    line: Line<'a>,
    situation: Situation,
    limits: &Limits,
) -> Result<Action<'a>, Stop<'a>> {
    match situation.stage {
        Stage::Init => return impossible(line),
        Stage::Subscribed => {}
        // Whatever its parameter.
        Stage::Closing => return Ok(Action::Nop),
    }
    let Some(digits) = line.parameter(1) else {
        return Ok(Action::Ready(1));
    };
    let Some(count) = base10(digits) else {
        return unparsable(b"E_INVALID RDY could not parse count ", digits);
    };
    let count = count.cast_signed();
    let max = limits.max_rdy_count;
    if !(0..=max).contains(&count) {
        return refused(format!("E_INVALID RDY count {count} out of range 0-{max}"));
    }
    Ok(Action::Ready(count))
}

pub(super) fn finish(line: Line<'_>, situation: Situation) -> Result<Action<'_>, Stop<'_>> {
    if situation.stage == Stage::Init {
        return impossible(line);
    }
    message_id(line, "FIN").map(Action::Finish)
}

pub(super) fn touch(line: Line<'_>, situation: Situation) -> Result<Action<'_>, Stop<'_>> {
    if situation.stage == Stage::Init {
        return impossible(line);
    }
    message_id(line, "TOUCH").map(Action::Touch)
}

pub(super) fn requeue<'a>(
    line: Line<'a>,
    situation: Situation,
    limits: &Limits,
) -> Result<Action<'a>, Stop<'a>> {
    if situation.stage == Stage::Init {
        return impossible(line);
    }
    let Some(digits) = line.parameter(2) else {
        return refused("E_INVALID REQ insufficient number of params".into());
    };
    let id = message_id(line, "REQ")?;
    let Some(ms) = base10(digits) else {
        return unparsable(b"E_INVALID REQ could not parse timeout ", digits);
    };
    // Out of range is no error here: nsqd takes the nearest bound, without a word.
    let delay = go_milliseconds(ms).unwrap_or(Duration::ZERO);
    Ok(Action::Requeue(id, delay.min(limits.max_req_timeout)))
}

pub(super) fn close(line: Line<'_>, situation: Situation) -> Result<Action<'_>, Stop<'_>> {
    match situation.stage {
        Stage::Subscribed => Ok(Action::StartClose),
        Stage::Init | Stage::Closing => impossible(line),
    }
}

/// What is only possible at another stage of a connection.
pub(super) fn impossible(line: Line<'_>) -> Result<Action<'_>, Stop<'_>> {
    Ok(Action::Impossible(format!(
        "E_INVALID cannot {} in current state",
        String::from_utf8_lossy(line.name())
    )))
}

fn message_id<'a>(line: Line<'a>, name: &str) -> Result<&'a [u8], Stop<'a>> {
    let Some(id) = line.parameter(1) else {
        return refused(format!("E_INVALID {name} insufficient number of params"));
    };
    if id.len() != ID_LENGTH {
        return refused("E_INVALID invalid message ID".into());
    }
    Ok(id)
}

fn unparsable<'a, T>(text: &[u8], digits: &[u8]) -> Result<T, Stop<'a>> {
    Err(Stop::Refused([text, digits].concat()))
}
