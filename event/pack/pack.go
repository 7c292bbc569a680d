// Package pack is the compact encoding in which stores keep what events add up
// to: a version byte, then numbers as varints and texts with their length, and
// for values a checksum at the end, because the stores have none of their own.
//
// A [Reader] keeps its first error and answers with zero values after it, so
// that a decoder checks once, at its end. Lengths are checked against the bytes
// that are there before anything is allocated.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// ErrDamaged says that bytes are not what the writer of this package wrote.
var ErrDamaged = errors.New("damaged record")

// Int appends a signed number.
func Int(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// Uint appends an unsigned number.
func Uint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// Fixed appends an unsigned number in eight bytes; meant for hashes.
func Fixed(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// Float appends a floating point number, bit for bit.
func Float(b []byte, v float64) []byte { return Fixed(b, math.Float64bits(v)) }

// Bool appends a truth value.
func Bool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Text appends a string with its length.
func Text(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// castagnoli is the table of the checksum.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal appends the checksum over b from an index on.
func Seal(b []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// Open is [Read] of bytes that were sealed.
func Open(b []byte, version byte) *Reader {
	n := len(b) - 4
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return &Reader{err: fmt.Errorf("checksum: %w", ErrDamaged)}
	}
	return Read(b[:n], version)
}

// Reader takes values out of bytes in the order in which they were appended.
// The strings it returns are copies.
type Reader struct {
	rest []byte
	err  error
}

// Read returns a reader of b after checking its version byte.
func Read(b []byte, version byte) *Reader {
	r := &Reader{}
	switch {
	case len(b) == 0:
		r.err = fmt.Errorf("empty: %w", ErrDamaged)
	case b[0] != version:
		r.err = fmt.Errorf("version %d instead of %d: %w", b[0], version, ErrDamaged)
	default:
		r.rest = b[1:]
	}
	return r
}

// Done returns the first error, or an error when bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail()
	}
	return r.err
}

func (r *Reader) fail() {
	if r.err == nil {
		r.err = ErrDamaged
	}
	r.rest = nil
}

// Int takes a signed number.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Uint takes an unsigned number.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Fixed takes a number of eight bytes.
func (r *Reader) Fixed() uint64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

// Float takes a floating point number.
func (r *Reader) Float() float64 { return math.Float64frombits(r.Fixed()) }

// Bool takes a truth value.
func (r *Reader) Bool() bool {
	b := r.Byte()
	if b > 1 {
		r.fail()
	}
	return b == 1
}

// Byte takes one byte.
func (r *Reader) Byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// Text takes a string.
func (r *Reader) Text() string {
	n := r.Uint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// Count takes the number of elements of a list. As every element takes at least
// one byte, a number beyond the bytes that are left is damage.
func (r *Reader) Count() int {
	n := r.Uint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n)
}
