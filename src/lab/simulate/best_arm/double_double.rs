//! Numbers of about 31 decimal digits: the unevaluated sum of two doubles.
//!
//! Invariant: relative errors of a few 1e-31 (Dekker 1971; Knuth 1997; Hida, Li and Bailey 2001). Only what the reference needs.
use std::sync::LazyLock;

/// Splits a double into halves of 26 bits.
const SPLITTER: f64 = 134_217_729.0;
/// ln 2 to 32 digits.
const LN_2: Dd = Dd {
    high: std::f64::consts::LN_2,
    low: 2.319_046_813_846_299_6e-17,
};
/// The argument of the exponential series is halved so often.
const HALVINGS: i32 = 8;
/// Terms of that series: what the next would add is below 1e-34 of the sum.
const TERMS: usize = 10;
/// `1 / 2!` to `1 / 10!`, the last first.
static INVERSE_FACTORIALS: LazyLock<[Dd; TERMS - 1]> = LazyLock::new(|| {
    let mut factorial = 1.0;
    let mut inverses = [Dd::new(1.0); TERMS - 1];
    for (at, inverse) in inverses.iter_mut().rev().enumerate() {
        factorial *= (at + 2) as f64;
        *inverse = Dd::new(1.0).over(Dd::new(factorial));
    }
    inverses
});

/// A number as the sum of a double and its rounding error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dd {
    high: f64,
    low: f64,
}

impl Dd {
    /// A double.
    pub fn new(number: f64) -> Self {
        Self {
            high: number,
            low: 0.0,
        }
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.high + self.low
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Self {
        let (sum, error) = two_sum(self.high, other.high);
        let (low, lower) = two_sum(self.low, other.low);
        let (sum, error) = quick_two_sum(sum, error + low);
        let (high, low) = quick_two_sum(sum, error + lower);
        Self { high, low }
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self {
            high: -other.high,
            low: -other.low,
        })
    }

    /// The product.
    pub fn times(self, other: Self) -> Self {
        let (product, error) = two_product(self.high, other.high);
        let error = error + (self.high * other.low + self.low * other.high);
        let (high, low) = quick_two_sum(product, error);
        Self { high, low }
    }

    /// The quotient.
    pub fn over(self, other: Self) -> Self {
        let first = self.high / other.high;
        let rest = self.minus(other.times(Self::new(first)));
        let second = rest.high / other.high;
        let rest = rest.minus(other.times(Self::new(second)));
        let third = rest.high / other.high;
        Self::new(first)
            .plus(Self::new(second))
            .plus(Self::new(third))
    }

    /// Times a power of two.
    fn scaled(self, exponent: i32) -> Self {
        let factor = f64::from(exponent).exp2();
        Self {
            high: self.high * factor,
            low: self.low * factor,
        }
    }

    /// `e` to this power, which must not overflow: `exp(r)^256 2^k` with r = (x - k ln 2) / 256.
    pub fn exp(self) -> Self {
        if self.high < -700.0 {
            return Self::new(0.0);
        }
        let power = (self.high / LN_2.high).round();
        let reduced = self.minus(LN_2.times(Self::new(power))).scaled(-HALVINGS);
        // By Horner from the smallest term: expm1 = r (1 + r (1/2! + r (1/3! + ...))).
        let series = INVERSE_FACTORIALS
            .iter()
            .fold(Self::new(0.0), |sum, term| sum.times(reduced).plus(*term));
        let mut grown = series.times(reduced).plus(Self::new(1.0)).times(reduced);
        // expm1(2 r) = expm1(r) (2 + expm1(r)), which keeps the digits of small results.
        for _ in 0..HALVINGS {
            grown = grown.times(grown.plus(Self::new(2.0)));
        }
        let half = power / 2.0;
        let (one, other) = (half.floor() as i32, half.ceil() as i32);
        grown.plus(Self::new(1.0)).scaled(one).scaled(other)
    }

    /// The natural logarithm of a positive number: one step of Newton's method from a double doubles the digits.
    pub fn ln(self) -> Self {
        let start = Self::new(self.high.ln());
        let negative = Self::new(-start.high);
        start.plus(self.times(negative.exp())).minus(Self::new(1.0))
    }
}

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// For `|a| >= |b|`.
fn quick_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

fn split(a: f64) -> (f64, f64) {
    let big = SPLITTER * a;
    let high = big - (big - a);
    (high, a - high)
}

fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    let error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    (product, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The difference to a number given in two parts, relative to it.
    fn error(got: Dd, high: f64, low: f64) -> f64 {
        (got.minus(Dd { high, low }).to_f64() / high).abs()
    }

    #[test]
    fn sums_products_and_quotients_keep_what_doubles_lose() {
        let third = Dd::new(1.0).over(Dd::new(3.0));
        let back = third.times(Dd::new(3.0)).minus(Dd::new(1.0));
        assert!(back.to_f64().abs() < 1e-31, "{back:?}");
        let tiny = Dd::new(1e16).plus(Dd::new(1e-8)).minus(Dd::new(1e16));
        assert!((tiny.to_f64() - 1e-8).abs() < 1e-22, "{tiny:?}");
    }

    #[test]
    fn the_exponential_has_thirty_digits() {
        // e and exp(-10), split by mpmath.
        let e = Dd::new(1.0).exp();
        assert!(error(e, std::f64::consts::E, 1.445_646_891_729_250_2e-16) < 1e-30);
        let small = Dd::new(-10.0).exp();
        assert!(
            error(
                small,
                4.539_992_976_248_485_4e-5,
                -2.637_554_055_327_531e-21
            ) < 1e-29
        );
        assert_eq!(Dd::new(-1e4).exp().to_f64(), 0.0);
    }

    #[test]
    fn the_logarithm_inverts_the_exponential() {
        for x in [1e-9, 0.3, 2.0, 77.7, 400.0, -3.3, -150.0] {
            let back = Dd::new(x).exp().ln().minus(Dd::new(x));
            assert!(
                back.to_f64().abs() < 1e-29 * x.abs().max(1.0),
                "{x}: {back:?}"
            );
        }
        let logarithm = Dd::new(10.0).ln();
        assert!(
            error(
                logarithm,
                std::f64::consts::LN_10,
                -2.170_756_223_382_249_4e-16
            ) < 1e-30
        );
    }
}
