package event

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A record is: length of the payload (4 bytes, little endian), CRC-32C over
// these 4 bytes and the payload (4 bytes), payload (the event, as JSON or compact).
//
// No text inside a payload can look like a record: the last byte of a length is
// always zero, and neither form of an event holds a zero byte.
const (
	headerSize = 8
	maxRecord  = 512 << 10
	minPayload = 2 // {} of JSON
)

// castagnoli is the table of the checksum.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch holds events in the form in which the log keeps them, so that encoding
// them needs no lock. The zero Batch is empty.
type Batch struct {
	bytes []byte
	ends  []int
}

// Add encodes one more event.
func (b *Batch) Add(e *Event) error {
	from := len(b.bytes)
	b.bytes = append(b.bytes, make([]byte, headerSize)...)
	encoded, ok := appendCompact(b.bytes, e)
	if !ok {
		payload, err := json.Marshal(e)
		if err != nil {
			b.bytes = b.bytes[:from]
			return fmt.Errorf("encode event %q: %w", e.ID, err)
		}
		encoded = append(encoded[:from+headerSize], payload...)
	}
	b.bytes = encoded[:from]
	if size := len(encoded) - from - headerSize; size > maxRecord {
		return fmt.Errorf("encode event %q: %d bytes are more than %d", e.ID, size, maxRecord)
	}
	b.bytes = encoded
	seal(encoded[from:])
	b.ends = append(b.ends, len(b.bytes))
	return nil
}

// Len is the number of events.
func (b *Batch) Len() int { return len(b.ends) }

// Size is the number of bytes that the events take in the log.
func (b *Batch) Size() int { return len(b.bytes) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.bytes, b.ends = b.bytes[:0], b.ends[:0] }

func (b *Batch) record(i int) []byte {
	if i == 0 {
		return b.bytes[:b.ends[0]]
	}
	return b.bytes[b.ends[i-1]:b.ends[i]]
}

// seal fills in the header of a record.
func seal(record []byte) {
	binary.LittleEndian.PutUint32(record, uint32(len(record)-headerSize))
	binary.LittleEndian.PutUint32(record[4:], checksum(record))
}

// checksum returns the checksum of a record. So as to pass over it once, the length
// stands in the place of the checksum meanwhile, next to the payload.
func checksum(record []byte) uint32 {
	place := record[4:headerSize]
	given := [4]byte(place)
	copy(place, record)
	sum := crc32.Checksum(record[4:], castagnoli)
	copy(place, given[:])
	return sum
}

// errNoRecord says that no whole record follows in this file.
var errNoRecord = errors.New("no further record")

// recordReader finds records in one file, through a window.
type recordReader struct {
	file   io.ReaderAt
	limit  int64 // end of what may be read
	window []byte
	start  int64 // position of window[0] in the file
}

const windowSize = 256 << 10

// view returns n bytes at pos, valid until the next call. pos+n must not be
// beyond limit.
func (r *recordReader) view(pos int64, n int) ([]byte, error) {
	if pos >= r.start && pos+int64(n) <= r.start+int64(len(r.window)) {
		return r.window[pos-r.start:][:n], nil
	}
	size := min(int64(max(n, windowSize)), r.limit-pos)
	if int64(cap(r.window)) < size {
		r.window = make([]byte, size)
	}
	r.window, r.start = r.window[:size], pos
	got, err := r.file.ReadAt(r.window, pos)
	if got >= n {
		r.window = r.window[:got]
		return r.window[:n], nil
	}
	r.window = r.window[:0]
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("read %d bytes at %d: %w", n, pos, err)
}

// at returns the payload of the record at pos, or nil when there is no valid one.
func (r *recordReader) at(pos int64) ([]byte, error) {
	if pos+headerSize+minPayload > r.limit {
		return nil, nil
	}
	head, err := r.view(pos, headerSize+1)
	if err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head)
	if length < minPayload || length > maxRecord || pos+headerSize+int64(length) > r.limit || !isForm(head[headerSize]) {
		return nil, nil
	}
	record, err := r.view(pos, headerSize+int(length))
	if err != nil {
		return nil, err
	}
	if checksum(record) != binary.LittleEndian.Uint32(record[4:]) {
		return nil, nil
	}
	return record[headerSize:], nil
}

// isForm reports whether a payload may begin with b, as written by this version of
// Sedge or another.
func isForm(b byte) bool { return b == formJSON || b > 0 && b <= lastForm }

// next returns the payload of the first valid record at or after pos and where
// that record begins; errNoRecord when there is none.
func (r *recordReader) next(pos int64) (payload []byte, at int64, err error) {
	for ; pos < r.limit; pos++ {
		payload, err = r.at(pos)
		if err != nil {
			return nil, pos, err
		}
		if payload != nil {
			return payload, pos, nil
		}
	}
	return nil, r.limit, errNoRecord
}
