const DEPTH_MAX = 32
/**
 * Twice what any route accepts in one array or object, so that the route's schema still gets to name the list that is
 * too long.
 */
const MEMBERS_OF_ONE_MAX = 2_000
/** A double needs at most 25 characters; an amount with all its digits, 70. */
const NUMBER_CHARACTERS_MAX = 100
/** parseJson() reads each number of at least LONG_NUMBER_CHARACTERS a second time, digit by digit. */
const LONG_NUMBERS_MAX = 5_000
export const LONG_NUMBER_CHARACTERS = 16
const SMALL_CHARACTERS_MAX = 2_000

const [QUOTE, BACKSLASH, COMMA, MINUS, PLUS, DOT, ZERO, NINE] = [0x22, 0x5c, 0x2c, 0x2d, 0x2b, 0x2e, 0x30, 0x39]
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT, UPPER_E, LOWER_E] = [0x5b, 0x5d, 0x7b, 0x7d, 0x45, 0x65]

/** Whether a text is too short to be expensive, so that counting its parts can be skipped. */
export const isSmall = (text: string) => text.length <= SMALL_CHARACTERS_MAX

/**
 * Says which bound a JSON text breaks; null if it keeps them all. Call it before parsing: a megabyte of brackets or
 * long numbers blocks the process for a fifth of a second, this check for about 2 ms.
 *
 * It only counts. Text that is not JSON passes, and the parser then stops where it breaks, within what was counted.
 * @param membersMax the most members of all arrays and objects together.
 * @param membersOfOneMax the most members of one array or object.
 */
export function findExcess(text: string, membersMax: number, membersOfOneMax = MEMBERS_OF_ONE_MAX): string | null {
  const members = new Int32Array(DEPTH_MAX + 1)
  let depth = 0
  let total = 0
  let longNumbers = 0
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === QUOTE) {
      at = endOfString(text, at)
    } else if (character === COMMA) {
      total += 1
      members[depth]! += 1
      if (members[depth]! > membersOfOneMax) {
        return `must NOT have more than ${membersOfOneMax} members in one array or object`
      }
    } else if (character === OPEN_LIST || character === OPEN_OBJECT) {
      total += 1
      depth += 1
      if (depth > DEPTH_MAX) return `must NOT be nested deeper than ${DEPTH_MAX} levels`
      members[depth] = 1
    } else if (character === CLOSE_LIST || character === CLOSE_OBJECT) {
      depth -= 1
    } else if (character === MINUS || isDigit(character)) {
      const begin = at
      while (at + 1 < text.length && isOfNumber(text.charCodeAt(at + 1))) at += 1
      const characters = at + 1 - begin
      if (characters > NUMBER_CHARACTERS_MAX) {
        return `must NOT have a number of more than ${NUMBER_CHARACTERS_MAX} characters`
      }
      if (characters >= LONG_NUMBER_CHARACTERS) longNumbers += 1
    }
    if (total > membersMax) return `must NOT have more than ${membersMax} members in all its arrays and objects`
    if (longNumbers > LONG_NUMBERS_MAX) {
      return `must NOT have more than ${LONG_NUMBERS_MAX} numbers of ${LONG_NUMBER_CHARACTERS} or more characters`
    }
  }
  return null
}

/** The index of the closing quote of the string that starts at `begin`, or the end of the text. */
function endOfString(text: string, begin: number): number {
  let at = begin + 1
  for (; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === QUOTE) return at
    if (character === BACKSLASH) at += 1
  }
  return at
}

const isDigit = (character: number) => character >= ZERO && character <= NINE

const isOfNumber = (character: number) =>
  isDigit(character) ||
  character === DOT ||
  character === MINUS ||
  character === PLUS ||
  character === LOWER_E ||
  character === UPPER_E
