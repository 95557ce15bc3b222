//! The PII guard: refuses what looks like a person in fields that stay in clear.
//!
//! Types, stream names, actors, tags, categories and caller-chosen ids are read by everybody with the role `reader` and
//! are not erased with a person. So e-mail addresses, E.164 phone numbers, IBANs and payment card numbers are refused in
//! them, with the field. Digit runs count only between non-alphanumeric characters, and UUIDs are excepted, so that
//! ordinary identifiers pass. It is a guard rail, not a proof: a name it does not know passes.
//!
//! Every pattern is linear in the text: what follows a beginning is looked at to a fixed length (cards, IBANs), or ends
//! where the next beginning stands (e-mail addresses, phone numbers).

use uuid::Uuid;

/// The pattern that a text matches, or `None` if it passes.
pub fn personal_data_in(text: &str) -> Option<&'static str> {
    if Uuid::try_parse(text).is_ok() {
        return None;
    }
    [
        ("an e-mail address", is_email as fn(&str) -> bool),
        ("a phone number", is_phone),
        ("an IBAN", is_iban),
        ("a card number", is_card),
    ]
    .into_iter()
    .find_map(|(name, matches)| matches(text).then_some(name))
}

/// `local@domain.tld` anywhere in the text.
fn is_email(text: &str) -> bool {
    let local = |c: char| c.is_alphanumeric() || "._%+-'".contains(c);
    text.match_indices('@').any(|(at, _)| {
        let (before, after) = (
            text.get(..at).unwrap_or_default(),
            text.get(at + 1..).unwrap_or_default(),
        );
        let domain: String = after
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '.' || *c == '-')
            .collect();
        let top = domain.trim_end_matches(['.', '-']).rsplit_once('.');
        before.ends_with(local) && top.is_some_and(|(host, top)| !host.is_empty() && top.chars().count() >= 2)
    })
}

/// `+` and 8 to 15 digits, spaces, dots, dashes and brackets between them allowed (E.164).
fn is_phone(text: &str) -> bool {
    text.match_indices('+').any(|(at, _)| {
        let starts = text
            .get(..at)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric());
        let rest = text.get(at + 1..).unwrap_or_default();
        let number: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || " .-()".contains(*c))
            .collect();
        let ends = rest
            .get(number.len()..)
            .and_then(|after| after.chars().next())
            .is_none_or(|c| !c.is_alphanumeric());
        let digits = number.chars().filter(char::is_ascii_digit).count();
        starts && ends && (8..=15).contains(&digits) && !number.starts_with('0')
    })
}

/// The longest IBAN.
const MAX_IBAN: usize = 34;
/// The longest card number.
const MAX_CARD: usize = 19;

/// Two letters, two check digits, 11 to 30 letters or digits, modulo 97 = 1 (ISO 13616); groups of four allowed.
fn is_iban(text: &str) -> bool {
    if text.len() < 15 {
        return false;
    }
    let compact: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' })
        .collect();
    let words: Vec<&str> = compact.split(' ').filter(|word| !word.is_empty()).collect();
    (0..words.len()).any(|first| {
        let mut joined = String::new();
        let window = words.iter().skip(first).take(9);
        let mut short = window.take_while(|word| word.len() <= MAX_IBAN);
        short.any(|word| {
            joined.push_str(word);
            checks_as_iban(&joined)
        })
    })
}

fn checks_as_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = (15..=MAX_IBAN).contains(&bytes.len())
        && bytes.iter().take(2).all(u8::is_ascii_alphabetic)
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_digit);
    let (head, tail) = text.split_at_checked(4).unwrap_or_default();
    shape
        && tail
            .chars()
            .chain(head.chars())
            .filter_map(|c| c.to_digit(36))
            .fold(0_u32, |rest, value| {
                let shift = if value > 9 { 100 } else { 10 };
                (rest * shift + value) % 97
            })
            == 1
}

/// 13 to 19 digits that pass the Luhn check (ISO/IEC 7812), single spaces or dashes between them allowed.
fn is_card(text: &str) -> bool {
    if text.bytes().filter(u8::is_ascii_digit).count() < 13 {
        return false;
    }
    let chars: Vec<char> = text.chars().collect();
    let starts = (0..chars.len()).filter(|at| {
        let boundary = at
            .checked_sub(1)
            .and_then(|before| chars.get(before))
            .is_none_or(|c| !c.is_alphanumeric());
        boundary && chars.get(*at).is_some_and(char::is_ascii_digit)
    });
    starts.into_iter().any(|start| {
        let mut digits = Vec::with_capacity(MAX_CARD);
        for (at, c) in chars.iter().enumerate().skip(start) {
            match c.to_digit(10) {
                Some(_) if digits.len() == MAX_CARD => return false,
                Some(digit) => digits.push(digit),
                None if " -".contains(*c) && chars.get(at + 1).is_some_and(char::is_ascii_digit) => continue,
                None => {
                    return !c.is_alphanumeric() && is_luhn(&digits);
                }
            }
            let ends = chars.get(at + 1).is_none_or(|next| !next.is_alphanumeric());
            if ends && is_luhn(&digits) {
                return true;
            }
        }
        false
    })
}

fn is_luhn(digits: &[u32]) -> bool {
    let doubled = |(at, digit): (usize, &u32)| match (at % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    (13..=MAX_CARD).contains(&digits.len()) && digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_person_is_found() {
        for (text, pattern) in [
            ("ada@example.com", "an e-mail address"),
            ("user:ada.l+x@mail.example.co.uk/orders", "an e-mail address"),
            ("call +49 30 1234567", "a phone number"),
            ("tel:+14155550123", "a phone number"),
            ("DE89370400440532013000", "an IBAN"),
            ("acct GB82 WEST 1234 5698 7654 32", "an IBAN"),
            ("4111111111111111", "a card number"),
            ("card 4111-1111-1111-1111 used", "a card number"),
        ] {
            assert_eq!(personal_data_in(text), Some(pattern), "{text}");
        }
    }

    #[test]
    fn ordinary_identifiers_pass() {
        for text in [
            "order-7",
            "invoice/2026/000123",
            "7f3d9a52-1c6e-4b1a-9a4e-2f6b8f0d1c11",
            "4111111111111112",
            "x4111111111111111",
            "a@b",
            "@handle",
            "+12345",
            "1+123456789012",
            "iam.CreateUser",
            "arn:aws:s3:::bucket",
            "20260131120000",
            "deadbeefdeadbeefdeadbeefdeadbeef",
        ] {
            assert_eq!(personal_data_in(text), None, "{text}");
        }
    }
    #[test]
    fn a_card_number_is_found_among_other_numbers() {
        for text in [
            "1 2 3 4111111111111111",
            "4111 1111 1111 1111 12 13 14 15 16 17",
            &format!("{} 4111111111111111", "1 ".repeat(40)),
        ] {
            assert_eq!(personal_data_in(text), Some("a card number"), "{text}");
        }
        // Twenty digits and more are no card number, wherever the check digit fits.
        assert_eq!(personal_data_in("41111111111111110000"), None);
    }

    #[test]
    fn a_long_text_takes_no_longer_than_its_length() {
        // With one look at the whole rest per beginning, any of these takes longer than the test may.
        const LENGTH: usize = 1 << 20;
        let (done, all_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for unit in [
                "1 ", "1-", "1", "@", "a@", "a@b.", "+", "+1 ", "+1", "AA00 ", "AA00", "A ",
            ] {
                let text = unit.repeat(LENGTH / unit.len());
                done.send((unit, personal_data_in(&text))).unwrap();
            }
        });
        for _ in 0..12 {
            let (unit, found) = all_done.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            assert_eq!(found, None, "{unit}");
        }
    }
}
