package ova

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/fastimage/fastimage/internal/imageerr"
)

const (
	maxManifest = 1 << 20
	// smallMember is up to which size members are verified whichever disk is read.
	smallMember = 1 << 20
	// hashStep is how much is read between two looks at the context.
	hashStep = 1 << 20
)

// entry is a line of the manifest, such as
//
//	SHA256(vm-disk1.vmdk)= 9f86d081884c7d65...
type entry struct {
	name, algorithm string
	sum             []byte
}

var (
	entryRE = regexp.MustCompile(`^\s*([A-Za-z0-9-]+)\s*\((.*)\)\s*=\s*([0-9A-Fa-f]+)\s*$`)
	hashes  = map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA384": sha512.New384, "SHA512": sha512.New}
)

func (a *Archive) readManifest() error {
	for _, m := range a.members {
		if strings.EqualFold(path.Ext(m.Name), ".mf") && !m.Sparse {
			return a.parseManifest(m)
		}
	}
	return nil
}

func (a *Archive) parseManifest(m Member) error {
	if m.Size > maxManifest {
		return format.Unsupported(m.Offset, "manifest", "%d bytes, more than %d", m.Size, maxManifest)
	}
	text := make([]byte, m.Size)
	if _, err := io.ReadFull(a.Section(m), text); err != nil {
		return fmt.Errorf("ova: read the manifest: %w", err)
	}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		f := entryRE.FindStringSubmatch(sc.Text())
		if f == nil {
			continue
		}
		algorithm := strings.ReplaceAll(strings.ToUpper(f[1]), "-", "")
		sum, err := hex.DecodeString(f[3])
		if err != nil || hashes[algorithm] == nil || len(sum) != hashes[algorithm]().Size() {
			return format.Damaged(m.Offset, "manifest", "digest of %.200q: %s of %d digits", f[2], algorithm, len(f[3]))
		}
		a.manifest = append(a.manifest, entry{f[2], algorithm, sum})
	}
	return nil
}

// Digest returns the algorithm by which the manifest has a digest of a member:
// SHA1, SHA256, SHA384 or SHA512; "" if it has none.
func (a *Archive) Digest(m Member) string {
	for _, e := range a.manifest {
		if e.names(m) {
			return e.algorithm
		}
	}
	return ""
}

func (e entry) names(m Member) bool {
	return e.name == strings.TrimPrefix(m.Name, "./") || e.name == m.Name
}

// Verify compares disk, and all small members, with their digests in the
// manifest. It reads them once, and is ended by ctx. A mismatch is a *[FormatError]
// of kind ErrDamaged; members without a digest are not verified.
func (a *Archive) Verify(ctx context.Context, disk Member) error {
	for _, m := range a.members {
		if m.Sparse || m.Name != disk.Name && (m.Size > smallMember || IsDisk(m.Name)) {
			continue
		}
		for _, e := range a.manifest {
			if !e.names(m) {
				continue
			}
			if err := a.verify(ctx, m, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Archive) verify(ctx context.Context, m Member, e entry) error {
	h := hashes[e.algorithm]()
	buf := make([]byte, min(m.Size, hashStep))
	for off := int64(0); off < m.Size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(int64(len(buf)), m.Size-off)]
		if n, err := a.ra.ReadAt(p, m.Offset+off); n < len(p) {
			return fmt.Errorf("ova: read %q: %w", m.Name, err)
		}
		h.Write(p)
		off += int64(len(p))
	}
	if got := h.Sum(nil); !bytes.Equal(got, e.sum) {
		return format.New(imageerr.ErrDamaged, m.Offset, "manifest", "%s of %q is %x, the manifest has %x", e.algorithm, m.Name, got, e.sum)
	}
	return nil
}
