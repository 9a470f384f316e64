package jobqueue

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	keyBytes   = 32
	nonceBytes = 12
	tagBytes   = 16
)

// AESGCM is an [Encoding] that encrypts and authenticates by AES-256-GCM. Made by [NewAESGCM] or [NewAESGCMFunc].
//
// Nonces are random; with an idempotency key they are made of it and of all that is encrypted, so that the same call again
// has the same bytes. Either way a key is good for 2^32 messages: take another one before.
type AESGCM struct {
	primary string
	// A function has the keys, so that nothing prints them.
	find keyFinder
}

var _ Encrypting = (*AESGCM)(nil)

// NewAESGCM takes each key by its name, 32 bytes, of which it makes copies. The primary one encrypts, all of them decrypt.
//
// The error is a [*KeyUnknownError] where the primary key is not there; else a key does not have 32 bytes, or the primary
// no name.
func NewAESGCM(keys map[string][]byte, primary string) (*AESGCM, error) {
	if primary == "" {
		return nil, errors.New("primary is empty: it is the name of the key that encrypts")
	}
	find, err := keysOf(keys)
	if err != nil {
		return nil, err
	}
	if _, err := find(context.Background(), primary); err != nil {
		return nil, err
	}
	return &AESGCM{primary, find}, nil
}

// NewAESGCMFunc takes a function that answers a key by its name, and nil where there is none. It may be slow, and is
// called by up to 16 goroutines: once for all that wait for the same name, with a context of 30 s that has the values of
// the first one's, and after which its answer counts no more. A key is kept for five minutes, and that there is none for
// 15 seconds.
//
// What is asked for comes from producers: look it up, and never build a path of it. A name is 1 to 255 letters, digits
// and _ . : / -; the error is that the primary is no such name.
func NewAESGCMFunc(keys func(ctx context.Context, name string) ([]byte, error), primary string) (*AESGCM, error) {
	if keys == nil {
		return nil, errors.New("there is no function for keys")
	}
	if !keyName.MatchString(primary) {
		return nil, fmt.Errorf("primary is %q; it is 1 to 255 letters, digits and _ . : / -", primary)
	}
	return &AESGCM{primary, newAskedKeys(keys).get}, nil
}

// Name is what envelopes call it.
func (a *AESGCM) Name() string { return "aes256gcm" }

// KeyID is the name of the primary key.
func (a *AESGCM) KeyID() string { return a.primary }

// Key is a key by its name.
func (a *AESGCM) Key(ctx context.Context, name string) ([]byte, error) { return a.find(ctx, name) }

// Encode makes the nonce, then the ciphertext with its tag.
func (a *AESGCM) Encode(data []byte, with Coding) ([]byte, error) {
	gcm, err := gcmOf(with.Key())
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceBytes, nonceBytes+len(data)+tagBytes)
	if with.IdempotencyKey == "" {
		_, _ = rand.Read(nonce) // it never fails
	} else if err := keyedNonce(nonce, data, with); err != nil {
		return nil, err
	}
	return gcm.Seal(nonce, nonce, data, with.Authenticated), nil
}

// Decode is what was encrypted.
func (a *AESGCM) Decode(data []byte, with Coding) ([]byte, error) {
	if len(data) < nonceBytes+tagBytes {
		return nil, undecodable("aes256gcm: it is cut off")
	}
	gcm, err := gcmOf(with.Key())
	if err != nil {
		return nil, err
	}
	opened, err := gcm.Open(nil, data[:nonceBytes], data[nonceBytes:], with.Authenticated)
	if err != nil {
		return nil, undecodable("aes256gcm: it was changed, or encrypted for another kind, job or purpose, or with another " +
			"key of this name")
	}
	return opened, nil
}

func gcmOf(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// keyedNonce writes a nonce that is the same for the same, and another one as soon as anything differs that the cipher is
// given. Two messages with one nonce would give away the key of the tags, also if only what is authenticated differs.
func keyedNonce(nonce, data []byte, with Coding) error {
	key, err := hkdf.Key(sha256.New, with.Key(), nil, encodedDomain+" nonce", keyBytes)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(framed(with.Authenticated, []byte(with.IdempotencyKey), data))
	copy(nonce, mac.Sum(nil))
	return nil
}
