// Package initramfs lists what an initramfs holds: cpio archives one after the
// other, each compressed or not, with zeros between them.
package initramfs

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	maxBytes   = 2 << 30 // decompressed; dracut's largest are some hundred MiB
	maxFiles   = 1 << 18
	maxName    = 4096
	maxKept    = 64 << 10 // content of one file
	maxAllKept = 4 << 20
	maxLayers  = 3 // compressed archives in one another
)

// Content is what an initramfs holds.
type Content struct {
	Files   map[string]bool   // paths without a leading slash
	Modules map[string]string // path by name, "virtio_blk"; those of the kernel asked for
	Kept    map[string][]byte // files that keep asked for
	Other   []string          // versions of other kernels that modules are for
	Formats []string          // compressions, in order: "none", "zstd", ...
	Bytes   int64             // decompressed
}

// HasCommand reports whether a program of that name is in a directory for
// programs.
func (c *Content) HasCommand(name string) bool {
	for _, dir := range []string{"sbin/", "usr/sbin/", "bin/", "usr/bin/", "usr/lib/systemd/", "lib/systemd/"} {
		if c.Files[dir+name] {
			return true
		}
	}
	return false
}

// Read reads an initramfs for a kernel of a version, "" if it is not known. keep
// chooses small files whose content is wanted.
func Read(r io.Reader, version string, keep func(name string) bool) (*Content, error) {
	s := &scanner{version: version, keep: keep, content: &Content{
		Files: map[string]bool{}, Modules: map[string]string{}, Kept: map[string][]byte{},
	}}
	err := s.archives(bufio.NewReaderSize(&source{r, s}, 1<<20), 0)
	s.content.Bytes = s.bytes
	if err != nil && len(s.content.Files) == 0 {
		return nil, err
	}
	return s.content, err
}

// source notes errors of reading, which must not pass for the end of an archive.
type source struct {
	r io.Reader
	s *scanner
}

func (r *source) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.s.failed = true
	}
	return n, err
}

type scanner struct {
	version string
	failed  bool // reading failed
	keep    func(string) bool
	content *Content
	bytes   int64
	kept    int
}

// archives reads archives up to the end of the stream.
func (s *scanner) archives(r *bufio.Reader, layer int) error {
	for n := 0; ; n++ {
		// Decompressors complain of zeros after what is compressed; the kernel does not.
		err := skipZeros(r)
		if err == io.EOF || err != nil && layer > 0 && n > 0 && !s.failed && !errors.Is(err, vfs.ErrTooLarge) {
			return nil
		}
		if err != nil {
			return err
		}
		head, err := r.Peek(6)
		if err != nil {
			return s.trailing(n, fmt.Errorf("ends with %d bytes of an unknown format", len(head)))
		}
		if string(head) == "070701" || string(head) == "070702" {
			s.format("none", layer)
			if err := s.archive(r); err != nil {
				return err
			}
			continue
		}
		name, open := decompressor(head)
		if open == nil || layer == maxLayers {
			return s.trailing(n, fmt.Errorf("unknown format % x", head))
		}
		s.format(name, layer)
		if err := s.compressed(r, open, layer); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// trailing is the error of what comes after n archives. Something unknown after
// a good archive does not keep the kernel from booting.
func (s *scanner) trailing(n int, err error) error {
	if n > 0 && len(s.content.Files) > 0 {
		return nil
	}
	return vfs.Unsupported("initramfs: %v", err)
}

func (s *scanner) format(name string, layer int) {
	if layer == 0 && len(s.content.Formats) < 16 {
		s.content.Formats = append(s.content.Formats, name)
	}
}

func (s *scanner) compressed(r *bufio.Reader, open opener, layer int) error {
	d, err := open(r)
	if err != nil {
		return err
	}
	defer d.Close()
	return s.archives(bufio.NewReaderSize(&counter{d, s}, 64<<10), layer+1)
}

// counter bounds what is decompressed.
type counter struct {
	r io.Reader
	s *scanner
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.s.bytes += int64(n); c.s.bytes > maxBytes {
		return 0, fmt.Errorf("more than %d bytes: %w", int64(maxBytes), vfs.ErrTooLarge)
	}
	return n, err
}

func skipZeros(r *bufio.Reader) error {
	for {
		p, err := r.Peek(1)
		if err != nil {
			return err
		}
		if p[0] != 0 {
			return nil
		}
		p, _ = r.Peek(r.Buffered())
		n := 0
		for n < len(p) && p[n] == 0 {
			n++
		}
		_, _ = r.Discard(n)
	}
}

// archive reads a cpio archive of the formats newc and crc.
func (s *scanner) archive(r *bufio.Reader) error {
	for {
		var h [110]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return short(err)
		}
		if string(h[:5]) != "07070" {
			return vfs.Damaged("initramfs: no cpio header")
		}
		mode, err1 := field(h[14:22])
		size, err2 := field(h[54:62])
		nameLen, err3 := field(h[94:102])
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if nameLen == 0 || nameLen > maxName {
			return vfs.Damaged("initramfs: name of %d bytes", nameLen)
		}
		name := make([]byte, nameLen+pad(110+nameLen))
		if _, err := io.ReadFull(r, name); err != nil {
			return short(err)
		}
		file := string(bytes.TrimRight(name[:nameLen], "\x00"))
		if file == "TRAILER!!!" {
			return nil
		}
		if err := s.file(r, strings.Trim(path.Clean("/"+file), "/"), mode, size); err != nil {
			return err
		}
	}
}

func short(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return vfs.Damaged("initramfs: ends in the middle of an archive")
	}
	return err
}

func pad(n int64) int64 { return (4 - n%4) % 4 }

func field(p []byte) (int64, error) {
	var b [4]byte
	if _, err := hex.Decode(b[:], p); err != nil {
		return 0, vfs.Damaged("initramfs: cpio header")
	}
	return int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3]), nil
}

// file takes one entry and skips its content.
func (s *scanner) file(r *bufio.Reader, name string, mode, size int64) error {
	if len(s.content.Files) >= maxFiles {
		return fmt.Errorf("more than %d files: %w", maxFiles, vfs.ErrTooLarge)
	}
	isDir := mode&0xf000 == 0x4000
	if !isDir {
		s.content.Files[name] = true
		s.module(name)
	}
	if s.keep != nil && !isDir && size <= maxKept && s.kept+int(size) <= maxAllKept && s.keep(name) {
		p := make([]byte, size)
		if _, err := io.ReadFull(r, p); err != nil {
			return short(err)
		}
		s.kept += len(p)
		s.content.Kept[name] = p
		size = pad(size)
	} else {
		size += pad(size)
	}
	if _, err := r.Discard(int(size)); err != nil {
		return short(err)
	}
	return nil
}

// module takes the name of a kernel module.
func (s *scanner) module(file string) {
	name := ModuleName(file)
	if name == "" {
		return
	}
	if _, rest, ok := strings.Cut("/"+file, "/lib/modules/"); ok && s.version != "" {
		if v, _, _ := strings.Cut(rest, "/"); v != s.version && strings.Contains(rest, "/") {
			if len(s.content.Other) < 16 && (len(s.content.Other) == 0 || s.content.Other[len(s.content.Other)-1] != v) {
				s.content.Other = append(s.content.Other, v)
			}
			return
		}
	}
	s.content.Modules[name] = file
}

// ModuleName returns the name of a module from its file's, "" for any other file.
func ModuleName(file string) string {
	name := path.Base(file)
	for _, ext := range []string{".gz", ".xz", ".zst", ".lzma"} {
		name = strings.TrimSuffix(name, ext)
	}
	base, ok := strings.CutSuffix(name, ".ko")
	if !ok {
		return ""
	}
	return strings.ReplaceAll(base, "-", "_")
}
