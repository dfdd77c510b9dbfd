package anyimage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/fastimage/fastimage/internal/fileid"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// watched is a file that an image needs, as it was when the image was opened. The
// format's reader holds it open; it is asked for by its name.
type watched struct {
	name string
	id   fileid.ID
}

func (d *Disk) watch(name string) error {
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	for _, w := range d.others {
		if w.name == name {
			return nil
		}
	}
	d.others = append(d.others, watched{name, fileid.Of(fi)})
	return nil
}

func (w watched) check() error {
	fi, err := os.Stat(w.name)
	if err != nil {
		return pkg.Errorf("check: %w", err)
	}
	if now := fileid.Of(fi); !now.Equal(w.id) {
		return &rawimage.ChangedError{Name: w.name, OldSize: w.id.Size, NewSize: now.Size, OldTime: w.id.ModTime, NewTime: now.ModTime}
	}
	return nil
}

// watchChain watches the files that a QCOW2 needs, which its reader has opened.
// The names in info are relative to dir.
func (d *Disk) watchChain(dir string, info *qcow2.Info) error {
	if info.DataFile != "" {
		if err := d.watch(reference(dir, info.DataFile)); err != nil {
			return err
		}
	}
	if info.BackingFile == "" {
		return nil
	}
	name := reference(dir, info.BackingFile)
	if err := d.watch(name); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	next, err := qcow2.ReadInfo(f, fi.Size())
	if errors.Is(err, qcow2.ErrDamaged) || info.BackingFormat == string(rawimage.FormatRaw) {
		return nil // RAW: the end of the chain
	}
	if err != nil {
		return err
	}
	return d.watchChain(filepath.Dir(name), next)
}

// reference is the path of a file that an image names.
func reference(dir, name string) string {
	name = filepath.FromSlash(strings.TrimPrefix(name, "file:"))
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}
