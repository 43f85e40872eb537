// Numbers as people read them; what is not known is a dash.

export const NONE = "–";

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

export const score = (value) => (known(value) ? value.toFixed(2) : NONE);

export const count = (value) => (known(value) ? value.toLocaleString("en-US") : NONE);

export function ms(value) {
  if (!known(value)) return NONE;
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}

export function usd(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "$0";
  if (value >= 0.1) return `$${value.toFixed(2)}`;
  return `$${value.toFixed(Math.min(8, 2 - Math.floor(Math.log10(value))))}`;
}

// Two times with one unit.
export function range(low, high) {
  if (!known(low)) return NONE;
  return high < 1000 ? `${low < 10 ? low.toFixed(1) : Math.round(low)} / ${high < 10 ? high.toFixed(1) : Math.round(high)} ms` : `${(low / 1000).toFixed(2)} / ${(high / 1000).toFixed(2)} s`;
}

export const percent = (value) => (known(value) ? `${Math.round(value * 100)}%` : NONE);

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

export function quantile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
