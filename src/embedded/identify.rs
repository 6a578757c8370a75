//! IDENTIFY: what a connection has negotiated, nsqd's checks of it, and the answer.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{builder::Options, channel::Terms};

/// nsqd's defaults (`--client-timeout` 60 s halved, `--output-buffer-timeout` and its kin).
const HEARTBEAT: Duration = Duration::from_secs(30);
const OUTPUT_BUFFER_SIZE: i64 = 16 * 1024;
const OUTPUT_BUFFER_TIMEOUT: i64 = 250;
const DEFLATE_LEVEL: i64 = 6;

/// The settings of one connection. A field that a later IDENTIFY leaves out keeps its value.
#[derive(Debug, Clone)]
pub(super) struct Negotiated {
    /// `None`: the client switched heartbeats off, and the read dead-line with them.
    pub(super) heartbeat: Option<Duration>,
    output_buffer_size: i64,
    output_buffer_timeout: i64,
    sample_rate: i64,
    pub(super) msg_timeout: Duration,
}

/// An accepted IDENTIFY.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) request: Value,
    pub(super) answer: Vec<u8>,
    pub(super) upgrade: Option<Upgrade>,
}

/// The layers that come behind the answer to an IDENTIFY: TLS first, compression inside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Upgrade {
    pub(super) tls: bool,
    pub(super) compression: Option<Compression>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Compression {
    Snappy,
    /// With its level.
    Deflate(u32),
}

impl Upgrade {
    fn new(tls: bool, compression: Option<Compression>) -> Option<Self> {
        let any = tls || compression.is_some();
        any.then_some(Self { tls, compression })
    }

    /// What a client must expect that was answered with these bytes, as far as we can do it.
    pub(super) fn told_by(bytes: &[u8], options: &Options) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let json = rest.get(..size)?.strip_prefix(&[0; 4])?;
        let told: Value = serde_json::from_slice(json).ok()?;
        let says = |key: &str| told.get(key) == Some(&Value::Bool(true));
        let level = told.get("deflate_level").and_then(Value::as_i64);
        let level = level.unwrap_or(DEFLATE_LEVEL).clamp(1, 9).unsigned_abs();
        let compression = if says("snappy") && cfg!(feature = "snappy") {
            Some(Compression::Snappy)
        } else if says("deflate") && cfg!(feature = "deflate") {
            Some(Compression::Deflate(level.try_into().ok()?))
        } else {
            None
        };
        Self::new(says("tls_v1") && options.tls.is_some(), compression)
    }
}

impl Negotiated {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            heartbeat: Some(HEARTBEAT),
            output_buffer_size: OUTPUT_BUFFER_SIZE,
            output_buffer_timeout: OUTPUT_BUFFER_TIMEOUT,
            sample_rate: 0,
            msg_timeout: options.msg_timeout,
        }
    }

    pub(super) fn terms(&self) -> Terms {
        Terms {
            msg_timeout: self.msg_timeout,
            sample_rate: self.sample_rate,
        }
    }

    /// Takes over what the client asks for, or says why not, in nsqd's words.
    pub(super) fn identify(
        &mut self,
        body: &[u8],
        options: &Options,
    ) -> Result<Identified, String> {
        // Go reads a broken UTF-8 sequence as a replacement character; serde_json would refuse it.
        let (request, asked) = serde_json::from_str(&String::from_utf8_lossy(body))
            .ok()
            .and_then(|request: Value| Some((request.clone(), Asked::read(request)?)))
            .ok_or("E_BAD_BODY IDENTIFY failed to decode JSON body")?;
        self.take_over(&asked, options)
            .map_err(|why| format!("E_BAD_BODY IDENTIFY {why} is invalid"))?;
        if !asked.feature_negotiation {
            return Ok(Identified {
                request,
                answer: b"OK".to_vec(),
                upgrade: None,
            });
        }
        let tls = asked.tls_v1 && options.tls.is_some();
        let (snappy, deflate) = (
            asked.snappy && options.snappy,
            asked.deflate && options.deflate,
        );
        let wanted = if deflate && asked.deflate_level > 0 {
            asked.deflate_level
        } else {
            DEFLATE_LEVEL
        };
        let level = u32::try_from(wanted).unwrap_or(u32::MAX);
        let level = level.min(options.max_deflate_level);
        let compression = match (snappy, deflate) {
            (true, true) => {
                return Err(
                    "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression".into(),
                );
            }
            (true, false) => Some(Compression::Snappy),
            (false, true) => Some(Compression::Deflate(level)),
            (false, false) => None,
        };
        Ok(Identified {
            request,
            answer: self.answer(options, tls, compression, level),
            upgrade: Upgrade::new(tls, compression),
        })
    }

    fn take_over(&mut self, asked: &Asked, options: &Options) -> Result<(), String> {
        match asked.heartbeat_interval {
            -1 => self.heartbeat = None,
            0 => {}
            ms if (1_000..=milliseconds(options.max_heartbeat_interval)).contains(&ms) => {
                self.heartbeat = Some(Duration::from_millis(ms.unsigned_abs()));
            }
            ms => return Err(format!("heartbeat interval ({ms})")),
        }
        match asked.output_buffer_timeout {
            -1 => self.output_buffer_timeout = 0,
            0 => {}
            ms if (25..=30_000).contains(&ms) => self.output_buffer_timeout = ms,
            ms => return Err(format!("output buffer timeout ({ms})")),
        }
        match asked.output_buffer_size {
            -1 => (self.output_buffer_size, self.output_buffer_timeout) = (1, 0),
            0 => {}
            size if (64..=65_536).contains(&size) => self.output_buffer_size = size,
            size => return Err(format!("output buffer size ({size})")),
        }
        match asked.sample_rate {
            rate if (0..=99).contains(&rate) => self.sample_rate = rate,
            rate => return Err(format!("sample rate ({rate})")),
        }
        match asked.msg_timeout {
            0 => {}
            ms if (1_000..=milliseconds(options.max_msg_timeout)).contains(&ms) => {
                self.msg_timeout = Duration::from_millis(ms.unsigned_abs());
            }
            ms => return Err(format!("msg timeout ({ms})")),
        }
        Ok(())
    }

    /// nsqd's keys in nsqd's order.
    fn answer(
        &self,
        options: &Options,
        tls: bool,
        compression: Option<Compression>,
        level: u32,
    ) -> Vec<u8> {
        let Self {
            output_buffer_size,
            output_buffer_timeout,
            sample_rate,
            ..
        } = self;
        let msg_timeout = milliseconds(self.msg_timeout);
        let max_msg_timeout = milliseconds(options.max_msg_timeout);
        let max_rdy_count = options.limits.max_rdy_count;
        let max_deflate_level = options.max_deflate_level;
        let snappy = compression == Some(Compression::Snappy);
        let deflate = matches!(compression, Some(Compression::Deflate(_)));
        let auth_required = options.auth.is_some();
        let version = Value::from(options.version.as_str());
        format!(
            "{{\"max_rdy_count\":{max_rdy_count},\"version\":{version},\"max_msg_timeout\":{max_msg_timeout},\
             \"msg_timeout\":{msg_timeout},\"tls_v1\":{tls},\"deflate\":{deflate},\"deflate_level\":{level},\
             \"max_deflate_level\":{max_deflate_level},\"snappy\":{snappy},\"sample_rate\":{sample_rate},\
             \"auth_required\":{auth_required},\"output_buffer_size\":{output_buffer_size},\
             \"output_buffer_timeout\":{output_buffer_timeout}}}"
        )
        .into_bytes()
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The fields of a request that have an effect here. A missing one, and `null`, is Go's zero value.
#[derive(Debug, Default)]
struct Asked {
    feature_negotiation: bool,
    heartbeat_interval: i64,
    output_buffer_size: i64,
    output_buffer_timeout: i64,
    sample_rate: i64,
    msg_timeout: i64,
    tls_v1: bool,
    snappy: bool,
    deflate: bool,
    deflate_level: i64,
}

impl Asked {
    /// `None` is what Go calls a JSON of the wrong type. It matches keys without regard to case.
    fn read(request: Value) -> Option<Self> {
        let mut asked = Self::default();
        let fields = match request {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            _ => return None,
        };
        for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            match key.to_ascii_lowercase().as_str() {
                "feature_negotiation" => asked.feature_negotiation = value.as_bool()?,
                "heartbeat_interval" => asked.heartbeat_interval = value.as_i64()?,
                "output_buffer_size" => asked.output_buffer_size = value.as_i64()?,
                "output_buffer_timeout" => asked.output_buffer_timeout = value.as_i64()?,
                "msg_timeout" => asked.msg_timeout = value.as_i64()?,
                "sample_rate" => asked.sample_rate = i32::try_from(value.as_i64()?).ok()?.into(),
                "deflate_level" => asked.deflate_level = value.as_i64()?,
                "snappy" => asked.snappy = value.as_bool()?,
                "deflate" => asked.deflate = value.as_bool()?,
                "tls_v1" => asked.tls_v1 = value.as_bool()?,
                "client_id" | "hostname" | "user_agent" => {
                    value.as_str()?;
                }
                _ => {}
            }
        }
        Some(asked)
    }
}
