package quickimport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"  //nolint:gosec // published checksums, not a secret's
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/fastimage/fastimage/internal/prefetch"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/httpfile"
)

// ErrChecksum means that the bytes of a source are not those that its checksum
// is of.
var ErrChecksum = pkg.New("checksum mismatch")

// Checksum is what the bytes of a source must hash to.
type Checksum struct {
	Algorithm string // "sha256", "sha512", "sha1" or "md5"
	Sum       []byte
}

var algorithms = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New, "sha1": sha1.New, "md5": md5.New}

// String returns the form that [ParseChecksum] reads.
func (c Checksum) String() string { return c.Algorithm + ":" + hex.EncodeToString(c.Sum) }

// ParseChecksum reads ALGORITHM:HEX, such as sha256:9f86d0...; the algorithms are
// sha256, sha512, sha1 and md5.
func ParseChecksum(s string) (Checksum, error) {
	name, digits, _ := strings.Cut(s, ":")
	name = strings.ToLower(name)
	sum, err := hex.DecodeString(strings.TrimSpace(digits))
	newHash := algorithms[name]
	if err != nil || newHash == nil || len(sum) != newHash().Size() {
		return Checksum{}, &OptionError{Option: "checksum", Reason: fmt.Sprintf("%q: want sha256:HEX, sha512:HEX, sha1:HEX or md5:HEX", s)}
	}
	return Checksum{name, sum}, nil
}

// maxSums bounds a list of checksums: those of distributions have some KiB.
const maxSums = 4 << 20

// FetchChecksum reads the checksum of the file name from a list at a URL, such as
// a SHA256SUMS: lines of "HEX  NAME" or "SHA256 (NAME) = HEX", or a single HEX.
// The algorithm follows from the length.
func FetchChecksum(ctx context.Context, listURL, name string, opts ...httpfile.Option) (Checksum, error) {
	f, err := httpfile.Open(ctx, listURL, opts...)
	if err != nil {
		return Checksum{}, err
	}
	defer f.Close()
	r, err := f.Stream(ctx)
	if err != nil {
		return Checksum{}, err
	}
	defer r.Close()
	list, err := io.ReadAll(io.LimitReader(r, maxSums+1))
	if err == nil && len(list) > maxSums {
		err = pkg.Errorf("%s has more than %d MiB: %w", f.URL(), maxSums>>20, ErrProtocol)
	}
	if err != nil {
		return Checksum{}, err
	}
	sum, err := findSum(list, path.Base(name))
	if err != nil {
		return Checksum{}, pkg.Errorf("%s: %w", f.URL(), err)
	}
	return sum, nil
}

var (
	gnuSum = regexp.MustCompile(`^\\?([0-9A-Fa-f]{32,128})[ \t]+[* ]?(.+)$`)
	bsdSum = regexp.MustCompile(`^(?:MD5|SHA1|SHA256|SHA512) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,128})$`)
	oneSum = regexp.MustCompile(`^([0-9A-Fa-f]{32,128})$`)
)

// findSum finds the line for a file. Two that differ are no answer.
func findSum(list []byte, name string) (Checksum, error) {
	var found []string
	lines := bufio.NewScanner(bytes.NewReader(list))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if m := bsdSum.FindStringSubmatch(line); m != nil && path.Base(m[1]) == name {
			found = append(found, m[2])
		} else if m := gnuSum.FindStringSubmatch(line); m != nil && path.Base(m[2]) == name {
			found = append(found, m[1])
		} else if oneSum.MatchString(line) {
			found = append(found, line)
		}
	}
	if err := lines.Err(); err != nil {
		return Checksum{}, err
	}
	found = slices.Compact(found)
	if len(found) == 0 {
		return Checksum{}, fmt.Errorf("%w: no checksum of %s is listed", ErrNotFound, name)
	}
	if len(found) > 1 {
		return Checksum{}, fmt.Errorf("%w: %d different checksums of %s are listed", ErrProtocol, len(found), name)
	}
	for algorithm, newHash := range algorithms {
		if sum, err := hex.DecodeString(found[0]); err == nil && len(sum) == newHash().Size() {
			return Checksum{algorithm, sum}, nil
		}
	}
	return Checksum{}, fmt.Errorf("%w: a checksum of %d digits", ErrProtocol, len(found[0]))
}

// Verified is src held to a checksum of its bytes (those of the file, not of the
// disk in it). What is read from its start to its end, a stream or a compressed
// file, is hashed while it is read. Anything else is read once more, beforehand:
// pass, if not nil, is called as that proceeds, first with done 0. A mismatch is
// [ErrChecksum], before an image is created. It covers the one file of the source,
// not others that an image refers to.
func Verified(src Source, sum Checksum, pass func(done, total int64)) Source {
	return &verifiedSource{src, sum, pass}
}

type verifiedSource struct {
	Source
	sum  Checksum
	pass func(done, total int64)
}

func (v *verifiedSource) Open(ctx context.Context, c *Client) (*Input, error) {
	newHash := algorithms[v.sum.Algorithm]
	if newHash == nil {
		return nil, &OptionError{Option: "checksum", Reason: fmt.Sprintf("algorithm %q", v.sum.Algorithm)}
	}
	in, err := v.Source.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &summer{want: v.sum, name: v.Name(), hash: newHash()}
	if in.Reader != nil {
		s.r = in.Reader
		in.Reader = s
	} else if isCompressed(in.ReaderAt, in.Size) {
		s.ra, s.size = in.ReaderAt, in.Size
		in.ReaderAt = s
	} else {
		if err := s.readAll(ctx, in, v.pass); err != nil {
			return nil, errors.Join(err, in.close())
		}
		return in, nil
	}
	unchanged := in.CheckUnchanged
	in.CheckUnchanged = func() error {
		if err := s.finish(); err != nil || unchanged == nil {
			return err
		}
		return unchanged()
	}
	return in, nil
}

func isCompressed(ra io.ReaderAt, size int64) bool {
	file, err := rawimage.New(ra, size, rawimage.WithAnyFormat())
	if err != nil {
		return false
	}
	format, err := anyimage.Detect(file)
	return err == nil && anyimage.Compressed(format)
}

// summer hashes a source on its way to whoever reads it.
type summer struct {
	want Checksum
	name string
	r    io.Reader   // of a stream
	ra   io.ReaderAt // of a file
	size int64

	mu   sync.Mutex // guards hash and pos
	hash hash.Hash
	pos  int64 // bytes hashed
}

// Read hashes a stream. Its end is the end only if the checksum is right.
func (s *summer) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hash.Write(p[:n])
	if err == io.EOF {
		if cerr := s.compare(); cerr != nil {
			err = cerr
		}
	}
	return n, err
}

// ReadAt hashes what is read in order; the rest is left to finish.
func (s *summer) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ra.ReadAt(p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	if off <= s.pos && s.pos < off+int64(n) {
		s.hash.Write(p[s.pos-off : n])
		s.pos = off + int64(n)
	}
	return n, err
}

// finish hashes what was not read and compares.
func (s *summer) finish() error {
	s.mu.Lock()
	pos := s.pos
	s.mu.Unlock()
	if s.ra == nil {
		_, err := io.Copy(io.Discard, s) // what follows the disk
		return err
	}
	if _, err := io.Copy(io.Discard, io.NewSectionReader(s, pos, s.size-pos)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compare()
}

// readAll hashes a file from its start to its end.
func (s *summer) readAll(ctx context.Context, in *Input, pass func(done, total int64)) error {
	if pass == nil {
		pass = func(int64, int64) {}
	}
	ra, size := in.ReaderAt, in.Size
	if in.Remote {
		ahead := prefetch.New(ctx, ra, size, readUnits)
		defer ahead.Close()
		ra = ahead
	}
	buf := make([]byte, 2<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		pass(off, size)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(int64(len(buf)), size-off)]
		if n, err := ra.ReadAt(p, off); n < len(p) {
			return pkg.Errorf("%s: checksum: read at offset %d: %w", s.name, off+int64(n), err)
		}
		s.hash.Write(p)
	}
	pass(size, size)
	return s.compare()
}

func (s *summer) compare() error {
	if got := s.hash.Sum(nil); !bytes.Equal(got, s.want.Sum) {
		return pkg.Errorf("%s: %w: it has %s:%x, expected %x", s.name, ErrChecksum, s.want.Algorithm, got, s.want.Sum)
	}
	return nil
}
