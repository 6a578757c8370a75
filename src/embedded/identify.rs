//! IDENTIFY: the settings that a connection negotiates, nsqd's checks, and the response.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    channel::DeliverySettings,
    options::Options,
    upgrade::{Compression, DEFAULT_DEFLATE_LEVEL, Upgrade},
};

/// nsqd's default: half of `--client-timeout`.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// nsqd's default, in bytes.
const OUTPUT_BUFFER_SIZE: i64 = 16 * 1024;
/// nsqd's default, in milliseconds.
const OUTPUT_BUFFER_TIMEOUT: i64 = 250;

/// The settings of one connection. A later IDENTIFY keeps the value of every field that it omits.
#[derive(Debug, Clone)]
pub(super) struct Negotiated {
    /// `None`: the client disabled heartbeats, and with them the read deadline.
    pub(super) heartbeat: Option<Duration>,
    /// In bytes.
    output_buffer_size: i64,
    /// In milliseconds; 0: no timeout.
    output_buffer_timeout: i64,
    sample_rate: i64,
    pub(super) msg_timeout: Duration,
}

/// An accepted IDENTIFY.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) request: Value,
    pub(super) response: Vec<u8>,
    pub(super) upgrade: Option<Upgrade>,
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

    pub(super) fn delivery_settings(&self) -> DeliverySettings {
        DeliverySettings {
            msg_timeout: self.msg_timeout,
            sample_rate: self.sample_rate,
        }
    }

    pub(super) fn output_buffer_size(&self) -> usize {
        usize::try_from(self.output_buffer_size).unwrap_or(usize::MAX)
    }

    /// `None`: the buffer is not flushed by time.
    pub(super) fn output_buffer_timeout(&self) -> Option<Duration> {
        let milliseconds = self.output_buffer_timeout.unsigned_abs();
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// Applies a request, or returns nsqd's error.
    pub(super) fn identify(
        &mut self,
        body: &[u8],
        options: &Options,
    ) -> Result<Identified, String> {
        // Go replaces invalid UTF-8; serde_json would reject it.
        let (json, request) = serde_json::from_str(&String::from_utf8_lossy(body))
            .ok()
            .and_then(|json: Value| Some((json.clone(), Request::read(json)?)))
            .ok_or("E_BAD_BODY IDENTIFY failed to decode JSON body")?;
        self.apply(&request, options)
            .map_err(|field| format!("E_BAD_BODY IDENTIFY {field} is invalid"))?;
        if !request.feature_negotiation {
            return Ok(Identified {
                request: json,
                response: b"OK".to_vec(),
                upgrade: None,
            });
        }
        let tls = request.tls_v1 && options.tls.is_some();
        let (snappy, deflate) = (
            request.snappy && options.snappy,
            request.deflate && options.deflate,
        );
        let wanted = if deflate && request.deflate_level > 0 {
            request.deflate_level
        } else {
            DEFAULT_DEFLATE_LEVEL
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
            request: json,
            response: self.response(options, tls, compression, level),
            upgrade: Upgrade::new(tls, compression),
        })
    }

    fn apply(&mut self, request: &Request, options: &Options) -> Result<(), String> {
        match request.heartbeat_interval {
            -1 => self.heartbeat = None,
            0 => {}
            ms if (1_000..=milliseconds(options.max_heartbeat_interval)).contains(&ms) => {
                self.heartbeat = Some(Duration::from_millis(ms.unsigned_abs()));
            }
            ms => return Err(format!("heartbeat interval ({ms})")),
        }
        match request.output_buffer_timeout {
            -1 => self.output_buffer_timeout = 0,
            0 => {}
            ms if (25..=30_000).contains(&ms) => self.output_buffer_timeout = ms,
            ms => return Err(format!("output buffer timeout ({ms})")),
        }
        match request.output_buffer_size {
            -1 => (self.output_buffer_size, self.output_buffer_timeout) = (1, 0),
            0 => {}
            size if (64..=65_536).contains(&size) => self.output_buffer_size = size,
            size => return Err(format!("output buffer size ({size})")),
        }
        match request.sample_rate {
            rate if (0..=99).contains(&rate) => self.sample_rate = rate,
            rate => return Err(format!("sample rate ({rate})")),
        }
        match request.msg_timeout {
            0 => {}
            ms if (1_000..=milliseconds(options.max_msg_timeout)).contains(&ms) => {
                self.msg_timeout = Duration::from_millis(ms.unsigned_abs());
            }
            ms => return Err(format!("msg timeout ({ms})")),
        }
        Ok(())
    }

    /// The JSON of the response: nsqd's keys in nsqd's order.
    fn response(
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
            "{{\"max_rdy_count\":{max_rdy_count},\"version\":{version},\
             \"max_msg_timeout\":{max_msg_timeout},\"msg_timeout\":{msg_timeout},\
             \"tls_v1\":{tls},\"deflate\":{deflate},\"deflate_level\":{level},\
             \"max_deflate_level\":{max_deflate_level},\"snappy\":{snappy},\
             \"sample_rate\":{sample_rate},\"auth_required\":{auth_required},\
             \"output_buffer_size\":{output_buffer_size},\
             \"output_buffer_timeout\":{output_buffer_timeout}}}"
        )
        .into_bytes()
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The fields of a request that have an effect here. A missing or `null` field is Go's zero value.
#[derive(Debug, Default)]
struct Request {
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

impl Request {
    /// `None` if a value has a type that Go's decoder rejects. Keys match in any case, as in Go.
    fn read(json: Value) -> Option<Self> {
        let mut request = Self::default();
        let fields = match json {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            _ => return None,
        };
        for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            match key.to_ascii_lowercase().as_str() {
                "feature_negotiation" => request.feature_negotiation = value.as_bool()?,
                "heartbeat_interval" => request.heartbeat_interval = value.as_i64()?,
                "output_buffer_size" => request.output_buffer_size = value.as_i64()?,
                "output_buffer_timeout" => request.output_buffer_timeout = value.as_i64()?,
                "msg_timeout" => request.msg_timeout = value.as_i64()?,
                "sample_rate" => request.sample_rate = i32::try_from(value.as_i64()?).ok()?.into(),
                "deflate_level" => request.deflate_level = value.as_i64()?,
                "snappy" => request.snappy = value.as_bool()?,
                "deflate" => request.deflate = value.as_bool()?,
                "tls_v1" => request.tls_v1 = value.as_bool()?,
                "client_id" | "hostname" | "user_agent" => {
                    value.as_str()?;
                }
                _ => {}
            }
        }
        Some(request)
    }
}
