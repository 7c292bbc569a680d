// Package bolt keeps profiles in a bucket of a bbolt database. The ledger owns
// the file and the transactions, so that profiles, sums and the offset of the
// event log change together.
package bolt

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/sedge-proxy/sedge/profile"
)

var bucketName = []byte("profiles")

// Create makes the bucket if it is missing.
func Create(tx *bbolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists(bucketName)
	return err
}

// Get returns the state of a visitor, nil when nothing is known of them. The
// state holds nothing of the transaction's memory.
func Get(tx *bbolt.Tx, id string) (*profile.State, error) {
	bucket := tx.Bucket(bucketName)
	if bucket == nil || id == "" {
		return nil, nil
	}
	value := bucket.Get([]byte(id))
	if value == nil {
		return nil, nil
	}
	return profile.Decode(value)
}

// Put writes the state of a visitor.
func Put(tx *bbolt.Tx, id string, s *profile.State) error {
	bucket := tx.Bucket(bucketName)
	if bucket == nil {
		return fmt.Errorf("bucket %q is missing", bucketName)
	}
	// bbolt reads the value until the transaction ends, so each has its own bytes.
	return bucket.Put([]byte(id), s.Append(nil))
}

// Delete removes a visitor.
func Delete(tx *bbolt.Tx, id string) error {
	bucket := tx.Bucket(bucketName)
	if bucket == nil || id == "" {
		return nil
	}
	return bucket.Delete([]byte(id))
}

// Each calls f with every visitor, until f returns an error.
func Each(tx *bbolt.Tx, f func(id string, s *profile.State) error) error {
	bucket := tx.Bucket(bucketName)
	if bucket == nil {
		return nil
	}
	return bucket.ForEach(func(key, value []byte) error {
		s, err := profile.Decode(value)
		if err != nil {
			return err
		}
		return f(string(key), s)
	})
}
