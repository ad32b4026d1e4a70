/** Civil time of the proleptic Gregorian calendar, without a time zone and without the host's clock. */

export interface CivilTime {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  /** 1 to 31. */
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  /** 0 is Sunday. */
  readonly weekday: number;
}

const SECONDS_PER_DAY = 86_400;
const DAYS_PER_400_YEARS = 146_097;
/** From 0000-03-01 to 1970-01-01. */
const EPOCH_DAY = 719_468;

/** Days from 1970-01-01; months and days out of range carry over. */
function daysOf(year: number, month: number, day: number): number {
  // Years begin in March here, so that the leap day is a year's last day and month lengths follow one line.
  const shifted = year * 12 + month - 3;
  const marchYear = Math.floor(shifted / 12);
  const marchMonth = shifted - marchYear * 12;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  return marchYear * 365 + leapDays + Math.floor((153 * marchMonth + 2) / 5) + day - 1 - EPOCH_DAY;
}

function yearOfDay(day: number): number {
  const guess = 1970 + Math.floor((day * 400) / DAYS_PER_400_YEARS);
  if (day < daysOf(guess, 1, 1)) return guess - 1;
  return day >= daysOf(guess + 1, 1, 1) ? guess + 1 : guess;
}

export function civilTime(unixSeconds: number): CivilTime {
  const dayNumber = Math.floor(unixSeconds / SECONDS_PER_DAY);
  const inDay = unixSeconds - dayNumber * SECONDS_PER_DAY;
  const year = yearOfDay(dayNumber);
  let month = 12;
  while (dayNumber < daysOf(year, month, 1)) month--;
  return {
    year,
    month,
    day: dayNumber - daysOf(year, month, 1) + 1,
    hour: Math.floor(inDay / 3600),
    minute: Math.floor(inDay / 60) % 60,
    second: inDay % 60,
    weekday: (((dayNumber + 4) % 7) + 7) % 7,
  };
}

export function unixSeconds(time: Omit<CivilTime, 'weekday'>): number {
  const days = daysOf(time.year, time.month, time.day);
  return days * SECONDS_PER_DAY + time.hour * 3600 + time.minute * 60 + time.second;
}
