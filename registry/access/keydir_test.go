// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted is a Secret as a kubelet mounts it.
type mounted struct {
	t       *testing.T
	dir     string
	version int
}

// replace brings other keys into the directory, all at once.
func (m *mounted) replace(secrets map[string][]byte) {
	m.t.Helper()
	must := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	m.version++
	version := "..v" + strings.Repeat("i", m.version)
	must(os.Mkdir(filepath.Join(m.dir, version), 0o700))
	for id, secret := range secrets {
		writeFile(m.t, filepath.Join(m.dir, version, id), secret)
	}
	must(os.Symlink(version, filepath.Join(m.dir, "..data_tmp")))
	must(os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")))
	entries, err := os.ReadDir(m.dir)
	must(err)
	for _, entry := range entries {
		if _, listed := secrets[entry.Name()]; !listed && !strings.HasPrefix(entry.Name(), ".") {
			must(os.Remove(filepath.Join(m.dir, entry.Name())))
		}
	}
	for id := range secrets {
		if _, err := os.Lstat(filepath.Join(m.dir, id)); err != nil {
			must(os.Symlink(filepath.Join("..data", id), filepath.Join(m.dir, id)))
		}
	}
}

func key32(c string) []byte { return bytes.Repeat([]byte(c), KeySize) }

// follow returns a fixture whose authority follows a directory with one key, and what
// was reported.
func follow(t *testing.T) (*fixture, *mounted, *KeyDirectory, *[]error) {
	t.Helper()
	m := &mounted{t: t, dir: t.TempDir()}
	m.replace(map[string][]byte{"0001": key32("1")})
	loaded, err := LoadKeys(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	var reports []error
	d := FollowKeys(m.dir, loaded, func(err error) { reports = append(reports, err) })
	f := newFixture(t, nil)
	f.authority = New(d, func() time.Time { return start })
	return f, m, d, &reports
}

func TestReplacedKeysTakeEffect(t *testing.T) {
	f, m, d, reports := follow(t)
	first := f.issue(t, "octocat").Token
	d.Look()
	if len(*reports) != 0 {
		t.Fatalf("without a change there was a report: %v", *reports)
	}

	// The new key signs, and the old one's tokens stay good.
	m.replace(map[string][]byte{"0001": key32("1"), "0002": key32("2")})
	d.Look()
	second := f.issue(t, "octocat").Token
	f.identify(t, "Bearer "+first)
	f.identify(t, "Bearer "+second)
	if header := d.Keys().byID["0002"].header; !strings.HasPrefix(second, header) {
		t.Error("the new key does not sign")
	}

	// Without the old key, its tokens are none.
	m.replace(map[string][]byte{"0002": key32("2")})
	d.Look()
	f.identify(t, "Bearer "+second)
	if _, err := f.authority.Identify(f.snapshot, "Bearer "+first); !errors.Is(err, ErrBadCredential) {
		t.Errorf("a token of a removed key: %v", err)
	}

	// Another secret under the same name is another key.
	m.replace(map[string][]byte{"0002": key32("3")})
	d.Look()
	if _, err := f.authority.Identify(f.snapshot, "Bearer "+second); !errors.Is(err, ErrBadCredential) {
		t.Errorf("a token of a replaced key: %v", err)
	}
	if len(*reports) != 3 || errors.Join(*reports...) != nil {
		t.Errorf("reports are %v, want three changes", *reports)
	}
}

func TestFaultyKeysLeaveTheOldOnesInForce(t *testing.T) {
	for what, faulty := range map[string]map[string][]byte{
		"no key":          {},
		"a short key":     {"0001": key32("1"), "0002": []byte("secret-and-short")},
		"a name of none":  {"0001": key32("1"), "a b": key32("2")},
		"one that is new": {"9999": nil},
	} {
		t.Run(what, func(t *testing.T) {
			f, m, d, reports := follow(t)
			token := f.issue(t, "octocat").Token
			m.replace(faulty)
			for range 3 {
				d.Look()
			}
			f.identify(t, "Bearer "+token)
			f.identify(t, "Bearer "+f.issue(t, "octocat").Token)
			if len(*reports) != 1 || (*reports)[0] == nil {
				t.Fatalf("reports are %v, want the fault, once", *reports)
			}
			if strings.Contains((*reports)[0].Error(), "secret-and-short") {
				t.Errorf("the report shows a key: %v", (*reports)[0])
			}
			m.replace(map[string][]byte{"0001": key32("1")})
			d.Look()
			d.Look()
			if len(*reports) != 2 || (*reports)[1] != nil {
				t.Errorf("reports are %v, want that the fault is over, once", *reports)
			}
		})
	}
}

func TestTheDirectoryIsLookedAtWithEveryTick(t *testing.T) {
	_, m, d, _ := follow(t)
	ctx, cancel := context.WithCancel(t.Context())
	ticks, ended := make(chan time.Time), make(chan error, 1)
	go func() { ended <- d.Run(ctx, ticks) }()
	m.replace(map[string][]byte{"0002": key32("2")})
	ticks <- start
	ticks <- start // the first look is over by now
	if d.Keys().byID["0002"] == nil {
		t.Error("a tick passed, and the new key is not there")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}
