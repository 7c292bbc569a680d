package visitor

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func key(fill byte) []byte {
	key := bytes.Repeat([]byte{fill}, KeySize)
	key[0]++
	return key
}

func newSigner(t testing.TB, keys ...[]byte) *Signer {
	t.Helper()
	s, err := NewSigner(keys, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMintAndVerify(t *testing.T) {
	s := newSigner(t, key(1))
	seen := make(map[string]bool)
	for range 100 {
		id, cookie, err := s.Mint()
		if err != nil || len(id) != 22 || !strings.HasPrefix(cookie, "v1."+id+".") || seen[id] {
			t.Fatalf("id %q, cookie %q, %v", id, cookie, err)
		}
		seen[id] = true
		if got, ok := s.Verify([]byte(cookie)); !ok || string(got) != id {
			t.Fatalf("Verify(%q) = %q, %v", cookie, got, ok)
		}
	}
}

// The format is fixed: cookies live for a year in browsers.
func TestCookieFormat(t *testing.T) {
	s, err := NewSigner([][]byte{key(7)}, strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	_, cookie, err := s.Mint()
	if err != nil {
		t.Fatal(err)
	}
	text := "v1." + base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdef"))
	mac := hmac.New(sha256.New, key(7))
	mac.Write([]byte(text))
	if want := text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]); cookie != want {
		t.Errorf("cookie %q, want %q", cookie, want)
	}
	if _, _, err := s.Mint(); err == nil {
		t.Error("minted without randomness")
	}
}

func TestVerifyRefuses(t *testing.T) {
	s := newSigner(t, key(1))
	_, cookie, _ := s.Mint()
	_, foreign, _ := newSigner(t, key(2)).Mint()
	for name, value := range map[string]string{
		"empty": "", "version only": "v1.", "other version": "v2" + cookie[2:], "foreign key": foreign,
		"cut": cookie[:len(cookie)-1], "longer": cookie + "A", "padded": cookie + "==", "quoted": `"` + cookie + `"`,
		"mac of another": cookie[:26] + foreign[26:], "id of another": foreign[:26] + cookie[26:],
		"no mac": cookie[:25], "upper case": strings.ToUpper(cookie), "zero mac": cookie[:26] + strings.Repeat("A", 22),
		"not base64": cookie[:30] + "*" + cookie[31:], "line end": cookie[:47] + "\n", "standard base64": cookie[:46] + "+/",
	} {
		if id, ok := s.Verify([]byte(value)); ok {
			t.Errorf("%s: took %q as %q", name, value, id)
		}
	}
	if _, ok := s.Verify(nil); ok {
		t.Error("took nil")
	}
}

func TestOneSpelling(t *testing.T) {
	s := newSigner(t, key(1))
	_, cookie, _ := s.Mint()
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(cookie)-1).Draw(t, "place")
		changed := []byte(cookie)
		changed[i] = rapid.Byte().Draw(t, "byte")
		if _, ok := s.Verify(changed); ok && changed[i] != cookie[i] {
			t.Fatalf("%q is taken as well as %q", changed, cookie)
		}
	})
}

func TestKeyRotation(t *testing.T) {
	older, newer := newSigner(t, key(1)), newSigner(t, key(2), key(1))
	id, cookie, _ := older.Mint()
	if got, ok := newer.Verify([]byte(cookie)); !ok || string(got) != id {
		t.Error("a cookie of the previous key was refused")
	}
	_, cookie, _ = newer.Mint()
	if _, ok := older.Verify([]byte(cookie)); ok {
		t.Error("the new signer signed with the previous key")
	}
	if _, ok := newSigner(t, key(2)).Verify([]byte(cookie)); !ok {
		t.Error("the new signer did not sign with its first key")
	}
}

func TestNewSignerRefuses(t *testing.T) {
	for name, keys := range map[string][][]byte{
		"none": nil, "short": {key(1)[:31]}, "zero": {make([]byte, 32)}, "weak second": {key(1), bytes.Repeat([]byte("x"), 40)},
	} {
		if _, err := NewSigner(keys, rand.Reader); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, _ := NewSigner([][]byte{key(1)}, iotest.ErrReader(errors.New("no entropy")))
	if _, _, err := s.Mint(); err == nil || !strings.Contains(err.Error(), "no entropy") {
		t.Errorf("Mint without entropy: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	// Every process of the fuzzer must know the same good cookie.
	s, err := NewSigner([][]byte{key(1), key(2)}, strings.NewReader("0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	_, good, err := s.Mint()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good))
	f.Add([]byte("v1..."))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, value []byte) {
		if id, ok := s.Verify(value); ok && (string(value) != good || string(id) != good[3:25]) {
			t.Fatalf("took %q as %q", value, id)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := newSigner(b, key(1))
	_, cookie, _ := s.Mint()
	value := []byte(cookie)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Verify(value); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkMint(b *testing.B) {
	s := newSigner(b, key(1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Mint(); err != nil {
			b.Fatal(err)
		}
	}
}
