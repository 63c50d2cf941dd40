/**
 * Student's t distribution for whole degrees of freedom, by the finite sums of Abramowitz & Stegun
 * 26.7.3 and 26.7.4: exact, so no table and no approximation stands between a level and its interval.
 */

/** P(|T| > t) for t >= 0. Below about 1e-15 the answer is rounding noise: order by t there. */
export function tTwoSided(t: number, degrees: number): number {
  const theta = Math.atan(t / Math.sqrt(degrees));
  const cos2 = Math.cos(theta) ** 2;
  const odd = degrees % 2 === 1;
  let term = odd ? Math.cos(theta) : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let k = odd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= (cos2 * (k - 1)) / k;
    sum += term;
  }
  const inside = odd ? (2 / Math.PI) * (theta + Math.sin(theta) * sum) : Math.sin(theta) * sum;
  return Math.min(1, Math.max(0, 1 - inside));
}

/** The t with P(|T| > t) = alpha: half-width of a two-sided interval in standard errors. */
export function tQuantile(alpha: number, degrees: number): number {
  let low = 0;
  let high = 2;
  while (tTwoSided(high, degrees) > alpha) high *= 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (tTwoSided(middle, degrees) > alpha) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
