/** Returns the last instant of the day of a date picker, such as 2026-02-09, in the time zone of its user. */
export function endOfDay(date) {
  const [year, month, day] = date.split("-").map(Number);
  return new Date(year, month - 1, day, 23, 59, 59, 999).toISOString().replace("Z", "999Z");
}

/** Returns the first instant of that day. The date alone would be its start in UTC. */
export function startOfDay(date) {
  const [year, month, day] = date.split("-").map(Number);
  return new Date(year, month - 1, day).toISOString();
}
