package proxy

import (
	"encoding/hex"
	"io"
	"math/rand/v2"
)

const (
	idBytes  = 16
	idLength = 2 * idBytes // in hexadecimal digits

	// idsAhead ids are made at once: their texts share memory, so one that is kept
	// keeps the others.
	idsAhead = 32
)

// idSource makes ids, and other random bytes that need not be a secret. It is seeded
// once: to ask the system each time costs more than all else of an id.
type idSource struct {
	random *rand.ChaCha8
	ahead  string // ids that were not given away yet
}

// newIDSource panics if there is no randomness.
func newIDSource(random io.Reader) *idSource {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		panic("BUG: the source of randomness failed: " + err.Error())
	}
	return &idSource{random: rand.NewChaCha8(seed)}
}

// next returns a random id of 32 hexadecimal digits.
func (s *idSource) next() string {
	if s.ahead == "" {
		var raw [idsAhead * idBytes]byte
		var text [idsAhead * idLength]byte
		_, _ = s.random.Read(raw[:]) // never fails
		hex.Encode(text[:], raw[:])
		s.ahead = string(text[:])
	}
	id := s.ahead[:idLength]
	s.ahead = s.ahead[idLength:]
	return id
}

// newID returns a random id of 32 hexadecimal digits.
func (s *Server) newID() string {
	source := s.ids.Get().(*idSource)
	id := source.next()
	s.ids.Put(source)
	return id
}

func (s *Server) fillRandom(p []byte) {
	source := s.ids.Get().(*idSource)
	_, _ = source.random.Read(p)
	s.ids.Put(source)
}
