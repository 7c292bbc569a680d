package visitor

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// KeySize is the length in bytes of a key that [LoadOrCreateKey] makes, and the
// least that [NewSigner] takes.
const KeySize = 32

const (
	version   = "v1."
	randomLen = 16 // bytes of an id, and of a mac
	textLen   = 22 // the same in unpadded base64url
	idEnd     = len(version) + textLen
	cookieLen = idEnd + 1 + textLen
)

// encoding is strict, so that every id and every mac has exactly one spelling.
var encoding = base64.RawURLEncoding.Strict()

// Signer mints and verifies visitor cookies. It is safe for concurrent use.
type Signer struct {
	keys   []*macKey
	random io.Reader
}

// NewSigner makes a signer of keys of at least [KeySize] bytes: the first signs,
// all verify. random must be a cryptographic source that is safe for concurrent
// use, as crypto/rand.Reader is.
func NewSigner(keys [][]byte, random io.Reader) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("make cookie signer: no key given")
	}
	s := &Signer{random: random}
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			return nil, fmt.Errorf("make cookie signer: key %d: %w", i, err)
		}
		s.keys = append(s.keys, newMACKey(key))
	}
	return s, nil
}

// Mint makes a new visitor: their id and the value of their cookie. It fails
// only if the source of randomness does.
func (s *Signer) Mint() (id, cookieValue string, err error) {
	var raw [randomLen]byte
	if _, err := io.ReadFull(s.random, raw[:]); err != nil {
		return "", "", fmt.Errorf("mint visitor id: %w", err)
	}
	var text [cookieLen]byte
	copy(text[:], version)
	encoding.Encode(text[len(version):idEnd], raw[:])
	text[idEnd] = '.'
	mac := s.keys[0].sum(text[:idEnd])
	encoding.Encode(text[idEnd+1:], mac[:])
	return string(text[len(version):idEnd]), string(text[:]), nil
}

// Verify returns the id in a cookie value that one of the keys signed, a part of that
// value. The comparison takes the same time wherever a mac differs.
func (s *Signer) Verify(cookieValue []byte) (id []byte, ok bool) {
	if len(cookieValue) != cookieLen || string(cookieValue[:len(version)]) != version || cookieValue[idEnd] != '.' {
		return nil, false
	}
	var mac [randomLen]byte
	if n, err := encoding.Decode(mac[:], cookieValue[idEnd+1:]); err != nil || n != randomLen {
		return nil, false
	}
	equal := 0
	for _, key := range s.keys {
		want := key.sum(cookieValue[:idEnd])
		equal |= subtle.ConstantTimeCompare(mac[:], want[:])
	}
	if equal != 1 {
		return nil, false
	}
	return cookieValue[len(version):idEnd], true
}

// macKey computes macs with one key. Its states are pooled because the key
// schedule of a fresh HMAC costs more than the mac of a short text.
type macKey struct{ states sync.Pool }

type macState struct {
	hash.Hash
	text [idEnd]byte
	full [sha256.Size]byte
}

func newMACKey(key []byte) *macKey {
	own := append([]byte(nil), key...)
	return &macKey{states: sync.Pool{New: func() any {
		return &macState{Hash: hmac.New(sha256.New, own)}
	}}}
}

func (k *macKey) sum(text []byte) (mac [randomLen]byte) {
	state := k.states.Get().(*macState)
	state.Reset()
	// The text passes through the state, so that the caller's buffer need not
	// live on the heap.
	state.Write(state.text[:copy(state.text[:], text)])
	copy(mac[:], state.Sum(state.full[:0]))
	k.states.Put(state)
	return mac
}
