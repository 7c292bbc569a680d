//go:build !race

package visitor

import "testing"

func TestVerifyAllocatesNothing(t *testing.T) {
	s := newSigner(t, key(1))
	_, cookie, _ := s.Mint()
	value := []byte(cookie)
	if n := testing.AllocsPerRun(1000, func() { s.Verify(value) }); n > 0 {
		t.Errorf("%v allocations for a good cookie", n)
	}
	value[len(value)-2] ^= 1
	if n := testing.AllocsPerRun(1000, func() { s.Verify(value) }); n > 0 {
		t.Errorf("%v allocations for a forged cookie", n)
	}
	agent := []byte("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36")
	header := func(name string) []byte {
		if name == "User-Agent" {
			return agent
		}
		return nil
	}
	if n := testing.AllocsPerRun(1000, func() { Classify(header) }); n > 0 {
		t.Errorf("%v allocations to classify a request", n)
	}
}
