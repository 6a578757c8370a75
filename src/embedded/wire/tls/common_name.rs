//! The common name in a certificate: what nsqd tells its auth server of a client.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The version of a certificate, which the oldest ones leave out.
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The common name of a certificate's subject; of several the last, as Go has it.
pub(super) fn of(certificate: &[u8]) -> Option<String> {
    let certificate = Der(certificate).next_with(SEQUENCE)?;
    let mut fields = Der(certificate).next_with(SEQUENCE).map(Der)?;
    let (tag, _) = fields.next()?;
    // Behind the version: serial number, algorithm, issuer, validity, subject.
    let subject = fields.nth(if tag == VERSION { 4 } else { 3 })?;
    let sets = Der(subject.1).filter(|(tag, _)| *tag == SET);
    let attributes = sets.flat_map(|(_, set)| Der(set));
    let names = attributes.filter_map(|(_, attribute)| {
        let mut attribute = Der(attribute);
        let kind = attribute.next_with(OBJECT_IDENTIFIER)?;
        let (_, value) = attribute.next()?;
        (kind == COMMON_NAME).then_some(value)
    });
    names
        .last()
        .map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Elements in DER, one behind the other: their tags and contents.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next element, if it has this tag.
    fn next_with(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .and_then(|(found, contents)| (found == tag).then_some(contents))
    }
}

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let shifted =
                    |length: usize, byte: &u8| Some(length.checked_mul(256)? + usize::from(*byte));
                (bytes.iter().try_fold(0, shifted)?, rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_common_name_is_found_among_others() {
        let others = [
            (DnType::OrganizationName, "an organization"),
            (DnType::CommonName, "Zoë"),
            (DnType::CountryName, "IS"),
        ];
        assert_eq!(of(&certificate(&others)).as_deref(), Some("Zoë"));
        let long = "x".repeat(300);
        let named = certificate(&[(DnType::CommonName, &long)]);
        assert_eq!(of(&named), Some(long));
    }

    #[test]
    fn what_has_none_or_is_no_certificate_has_no_name() {
        assert_eq!(of(&certificate(&[])), None);
        let whole = certificate(&[(DnType::CommonName, "name")]);
        for cut in 0..whole.len() {
            let _ = of(&whole[..cut]);
        }
        assert_eq!(of(&whole[..40]), None);
        assert_eq!(of(&[0x30, 0xff, 0xff]), None);
    }
}
