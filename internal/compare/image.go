package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	imageSize = 4 << 30
	imageData = 1 << 30
	spread    = 64 << 20 // data and hole alternate in pieces of this size and three times it
)

var errFull = errors.New("full")

// makeImage makes a sparse RAW image out of the files of the Go installation.
func makeImage(name string) error {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	w := &scatter{out: out}
	err = out.Truncate(imageSize)
	for err == nil { // more than once where the installation is smaller than that
		err = filepath.WalkDir(strings.TrimSpace(string(goroot)), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			in, err := os.Open(path)
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = io.Copy(w, in)
			return err
		})
	}
	if errors.Is(err, errFull) {
		err = nil
	}
	return errors.Join(err, out.Close())
}

// scatter writes pieces with holes between them.
type scatter struct {
	out  *os.File
	done int64
}

func (s *scatter) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		if s.done >= imageData {
			return n, errFull
		}
		piece := p[:min(int64(len(p)), spread-s.done%spread)]
		if _, err := s.out.WriteAt(piece, s.done/spread*4*spread+s.done%spread); err != nil {
			return n, err
		}
		s.done += int64(len(piece))
		n += len(piece)
		p = p[len(piece):]
	}
	return n, nil
}

func makeRandom(name string, n int64) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, rand.Reader, n)
	return errors.Join(err, out.Close())
}
