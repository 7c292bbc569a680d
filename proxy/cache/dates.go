package cache

import (
	"bytes"
	"time"
)

// Names of days and months as HTTP dates have them, in lower case.
const (
	dayNames   = "sunmontuewedthufrisat"
	monthNames = "janfebmaraprmayjunjulaugsepoctnovdec"
)

// parseDate reads an HTTP date in one of its three forms (RFC 9110, 5.6.7). Case does
// not count, and a zone other than GMT is no date (RFC 9111, 4.2). A year of two digits
// is the one that is at most 50 years ahead of now. What is no date is the zero time.
//
// fasthttp's and net/http's parsers take the years from 1969 on for it, and any zone.
func parseDate(value []byte, now time.Time) (time.Time, bool) {
	value = trimBlanks(value)
	// The longest has 33 bytes, "Wednesday, 06-Nov-94 08:49:37 GMT".
	var buf [33]byte
	if len(value) > len(buf) {
		return time.Time{}, false
	}
	for i, b := range value {
		buf[i] = lowerByte(b)
	}
	p := dateParser{rest: buf[:len(value)]}
	comma := bytes.IndexByte(p.rest, ',')
	switch {
	case comma == 3:
		p.name(dayNames)
		p.literal(", ")
		p.day = p.digits(2)
		p.literal(" ")
		p.month = p.name(monthNames)
		p.literal(" ")
		p.year = p.digits(4)
		p.literal(" ")
		p.clock()
		p.literal(" gmt")
	case comma > 3:
		p.longDay()
		p.literal(", ")
		p.day = p.digits(2)
		p.literal("-")
		p.month = p.name(monthNames)
		p.literal("-")
		p.year = nearYear(p.digits(2), now)
		p.literal(" ")
		p.clock()
		p.literal(" gmt")
	default: // asctime
		p.name(dayNames)
		p.literal(" ")
		p.month = p.name(monthNames)
		p.literal(" ")
		if len(p.rest) > 0 && p.rest[0] == ' ' {
			p.rest = p.rest[1:]
			p.day = p.digits(1)
		} else {
			p.day = p.digits(2)
		}
		p.literal(" ")
		p.clock()
		p.literal(" ")
		p.year = p.digits(4)
	}
	return p.time()
}

// nearYear completes a year of two digits.
func nearYear(year int, now time.Time) int {
	present := now.UTC().Year()
	year += present - present%100
	switch {
	case year > present+50:
		year -= 100
	case year <= present-50:
		year += 100
	}
	return year
}

// dateParser takes a date in lower case apart. After a failure everything fails.
type dateParser struct {
	rest   []byte
	failed bool

	year, month, day     int
	hour, minute, second int
}

func (p *dateParser) fail() int {
	p.failed, p.rest = true, nil
	return 0
}

func (p *dateParser) literal(s string) {
	if len(p.rest) < len(s) || string(p.rest[:len(s)]) != s {
		p.fail()
		return
	}
	p.rest = p.rest[len(s):]
}

func (p *dateParser) digits(n int) int {
	if len(p.rest) < n {
		return p.fail()
	}
	value := 0
	for _, b := range p.rest[:n] {
		if !isDigit(b) {
			return p.fail()
		}
		value = value*10 + int(b-'0')
	}
	p.rest = p.rest[n:]
	return value
}

// name reads one of the names of three letters, and returns which, from 1.
func (p *dateParser) name(names string) int {
	for i := 0; i < len(names) && len(p.rest) >= 3; i += 3 {
		if string(p.rest[:3]) == names[i:i+3] {
			p.rest = p.rest[3:]
			return i/3 + 1
		}
	}
	return p.fail()
}

func (p *dateParser) longDay() {
	for _, day := range [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"} {
		if bytes.HasPrefix(p.rest, []byte(day)) {
			p.rest = p.rest[len(day):]
			return
		}
	}
	p.fail()
}

func (p *dateParser) clock() {
	p.hour = p.digits(2)
	p.literal(":")
	p.minute = p.digits(2)
	p.literal(":")
	p.second = p.digits(2)
}

func (p *dateParser) time() (time.Time, bool) {
	if p.failed || len(p.rest) > 0 || p.hour > 23 || p.minute > 59 || p.second > 60 {
		return time.Time{}, false
	}
	second := min(p.second, 59) // a leap second must not be later than it is
	t := time.Date(p.year, time.Month(p.month), p.day, p.hour, p.minute, second, 0, time.UTC)
	if t.Day() != p.day { // there is no such day
		return time.Time{}, false
	}
	return t, true
}
