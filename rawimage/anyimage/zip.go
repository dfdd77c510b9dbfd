package anyimage

import (
	"archive/zip"
	"compress/bzip2"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/ova"
)

var (
	errZipEncrypted = errors.New("the member is encrypted")
	errZipMethod    = errors.New("the member's compression method is not supported")
)

// zipMember returns the only file in a zip archive, or the one asked for.
func zipMember(file *rawimage.Image, o *options) (*zip.File, error) {
	z, err := zip.NewReader(file, file.Size())
	if err != nil {
		return nil, zipError(err)
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	z.RegisterDecompressor(zipBzip2, func(r io.Reader) io.ReadCloser { return io.NopCloser(bzip2.NewReader(r)) })
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(zstd.WithDecoderMaxWindow(uint64(o.window)), zstd.WithDecoderLowmem(true)))
	var files []*zip.File
	var members []ova.Member
	for _, f := range z.File {
		if f.FileInfo().IsDir() || strings.HasPrefix(path.Base(f.Name), "._") || strings.HasPrefix(f.Name, "__MACOSX/") {
			continue
		}
		files = append(files, f)
		members = append(members, ova.Member{Name: f.Name, Size: int64(f.UncompressedSize64)})
	}
	if len(files) == 1 && o.member == "" {
		return files[0], checkZip(files[0])
	}
	m, err := ova.Choose(members, o.member)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.Name == m.Name {
			return f, checkZip(f)
		}
	}
	return nil, &ChoiceError{Want: o.member, Members: members}
}

const (
	zipBzip2     = 12
	zipEncrypted = 1 // flag
)

func checkZip(f *zip.File) error {
	switch {
	case f.Flags&zipEncrypted != 0:
		return errZipEncrypted
	case f.Method != zip.Store && f.Method != zip.Deflate && f.Method != zipBzip2 && f.Method != zstd.ZipMethodWinZip:
		return errZipMethod
	case f.UncompressedSize64 > 1<<62:
		return zip.ErrFormat
	}
	return nil
}

// zipError tells an archive without its directory, which is at the end, from
// other damage.
func zipError(err error) error {
	if errors.Is(err, zip.ErrFormat) {
		return imageerr.Format("zip").Truncated(imageerr.None, "end of central directory", "not found")
	}
	return err
}
