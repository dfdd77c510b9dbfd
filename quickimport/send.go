package quickimport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// upload sends the source in the client's format.
func (im *importer) upload(ctx context.Context) error {
	up, err := im.uploader()
	if err != nil {
		return err
	}
	send := im.sendEncoded
	switch {
	case im.format == FormatRaw:
		send = im.sendRaw
	case im.src.Container != nil:
		send = im.sendContainer
	case im.src.Sequence != nil:
		send = im.sendSequence
	}
	return wrap("upload", send(ctx, up))
}

func (im *importer) uploader() (*uploader.Uploader, error) {
	opts := []uploader.Option{uploader.WithProgress(im.report), uploader.WithSourceCheck(im.src.CheckUnchanged), uploader.WithLimiter(im.share.uploads)}
	if im.opt.concurrency > 0 {
		opts = append(opts, uploader.WithConcurrency(im.opt.concurrency))
	}
	if im.journal.durable() {
		rec := im.journal.rec
		opts = append(opts, uploader.WithStore(im.journal.store), uploader.WithFingerprint(fmt.Sprintf("%+v %+v %s %s", rec.Source, rec.Request, rec.UUID, rec.Created)))
	}
	if im.opt.partSize > 0 {
		opts = append(opts, uploader.WithPartSize(im.opt.partSize))
	}
	up, err := uploader.New(im.obs, opts...)
	return up, wrap("upload", err)
}

// report passes on what was sent. Retries are observed (see observed).
func (im *importer) report(p uploader.Progress) { im.events.sent(p.Wire, p.Resumed, p.Retries) }

// note takes what an upload of the object did into the result.
func (im *importer) note(ctx context.Context, sent *uploader.Result) {
	im.objects = append(im.objects, sent.Key)
	im.res.ObjectBytes, im.res.ETag = sent.ObjectBytes, sent.ETag
	im.res.WireBytes += sent.WireBytes
	im.res.Retries += sent.Retries
	if sent.RestartReason != "" {
		im.warned(ctx, Warning{WarnRestarted, "the upload started over: " + sent.RestartReason})
	}
	if sent.Encrypted {
		im.warned(ctx, Warning{WarnEncrypted, "the bucket encrypts by default: the object's checksums could not be compared"})
	}
	if sent.CleanupErr != nil {
		im.warned(ctx, Warning{WarnLeftover, "left behind in the bucket: " + pkgerr.Text(sent.CleanupErr)})
	}
}

// warned notes what the caller has to know about an import that continues. A
// resumed import may come across the same again.
func (im *importer) warned(ctx context.Context, w Warning) {
	im.o.logger.LogAttrs(ctx, slog.LevelWarn, w.Text, slog.String("code", string(w.Code)))
	if !slices.Contains(im.res.Warnings, w) {
		im.res.Warnings = append(im.res.Warnings, w)
	}
	im.events.warn(w)
}

// sendEncoded encodes straight into the upload: the pipe is all that lies
// between them, so the slower of the two sets the pace of both.
func (im *importer) sendEncoded(ctx context.Context, up *uploader.Uploader) error {
	most, _, err := im.sizes()
	if err != nil {
		return err
	}
	workers, release, err := im.share.encode(ctx, im.opt.workers)
	if err != nil {
		return err
	}
	defer release()
	im.res.WireBytes, im.res.Retries = 0, 0
	pr, pw := io.Pipe()
	var sum *zvhd2.Summary
	var sent *uploader.Result
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		sum, err = im.encode(gctx, pw, workers)
		pw.CloseWithError(err) // nil is the end of the stream
		return err
	})
	g.Go(func() (err error) {
		sent, err = up.UploadStream(gctx, im.img.Bucket, im.img.Key, pr, most)
		pr.CloseWithError(err)
		return err
	})
	err = errors.Join(g.Wait(), ctx.Err())
	if sent != nil {
		im.note(ctx, sent)
	}
	if err != nil {
		return err
	}
	if sent.ObjectBytes != sum.FileSize {
		return fmt.Errorf("the object has %d bytes, the container %d", sent.ObjectBytes, sum.FileSize)
	}
	im.res.DataBytes = sum.DataBytes
	im.journal.rec.Container = &containerFacts{UUID: sum.UUID, DiskSize: sum.DiskSize, StoredBlocks: sum.StoredBlocks, Created: sum.Created}
	return nil
}

func (im *importer) encode(ctx context.Context, w io.Writer, workers int) (*zvhd2.Summary, error) {
	rec := &im.journal.rec
	opts := []zvhd2.Option{zvhd2.WithLevel(im.opt.level), zvhd2.WithWorkers(workers), zvhd2.WithUUID(rec.UUID), zvhd2.WithTimestamp(rec.Created), zvhd2.WithProgress(func(p zvhd2.Progress) {
		im.events.read(p.Done, p.Total, p.Skipped, p.Written)
	})}
	if im.src.Forward != nil {
		return zvhd2.EncodeStream(ctx, w, im.src.Forward, im.src.Size(), opts...)
	}
	disk, done := im.src.ReadAhead(ctx)
	defer done()
	return zvhd2.Encode(ctx, w, disk, im.src.Size(), opts...)
}

// sendContainer sends a ZVHD2 file as it is.
func (im *importer) sendContainer(ctx context.Context, up *uploader.Uploader) error {
	info := im.src.Container.Info()
	im.res.WireBytes, im.res.Retries = 0, 0
	sent, err := up.UploadReaderAt(ctx, im.img.Bucket, im.img.Key, im.src.in.ReaderAt, im.src.FileSize(), im.readProgress(im.src.FileSize()))
	if err != nil {
		return err
	}
	im.note(ctx, sent)
	im.res.DataBytes = min(info.StoredBlocks*info.BlockSize, info.Size)
	im.journal.rec.Container = &containerFacts{UUID: info.UUID, DiskSize: info.Size, StoredBlocks: info.StoredBlocks, Created: info.Created}
	return nil
}

// sendSequence sends a ZVHD2 file that can only be read in order as it is. Its
// index, and with it the number of its blocks, comes last.
func (im *importer) sendSequence(ctx context.Context, up *uploader.Uploader) error {
	info := im.src.Sequence.Info()
	im.res.WireBytes, im.res.Retries = 0, 0
	sent, err := up.UploadStream(ctx, im.img.Bucket, im.img.Key, im.src.whole, zvhd2.MaxSize(im.src.Size()))
	if err != nil {
		return err
	}
	im.note(ctx, sent)
	im.journal.rec.Container = &containerFacts{UUID: info.UUID, DiskSize: info.Size, StoredBlocks: -1, Created: info.Created}
	return nil
}

// sendRaw uploads the bitmap file and the disk as it is. The bitmap comes
// first: it is made, or checked, before the disk's bytes are sent.
func (im *importer) sendRaw(ctx context.Context, up *uploader.Uploader) error {
	if err := im.makeMF(ctx); err != nil {
		return err
	}
	bucket, key, mf := im.img.Bucket, im.img.Key, im.mf
	put, err := up.UploadReaderAt(ctx, bucket, mfKey(key), bytes.NewReader(mf.bytes), int64(len(mf.bytes)))
	if err != nil {
		return err
	}
	im.objects = append(im.objects, mfKey(key))
	im.res.WireBytes, im.res.Retries = put.WireBytes, put.Retries
	sent, err := up.UploadReaderAt(ctx, bucket, key, im.src.image, im.src.Size(), im.readProgress(im.src.Size()))
	if err != nil {
		return err
	}
	im.note(ctx, sent)
	im.res.DataBytes = mf.data
	return nil
}

// readProgress reports an upload of the source itself, where nothing is
// encoded: what is made on the server by copying counts as skipped.
func (im *importer) readProgress(total int64) uploader.Option {
	return uploader.WithProgress(func(p uploader.Progress) {
		im.events.read(min(p.Done, total), total, p.Copied, 0)
		im.report(p)
	})
}

// sizes bounds the object's size by the blocks that the source's extents
// touch, and says how much of the disk they are. A hole cannot become a record:
// so the parts of a sparse disk, and the memory they take, are small however
// large the disk is.
func (im *importer) sizes() (most, data int64, err error) {
	src := im.src
	if src.image == nil {
		return zvhd2.MaxSize(src.Size()), src.Size(), nil
	}
	for e, err := range src.image.Extents() {
		if err != nil {
			return 0, 0, err
		}
		data += e.Length
	}
	switch {
	case im.format == FormatRaw:
		return src.Size(), data, nil
	case src.Container != nil:
		return src.FileSize(), data, nil
	}
	touched, err := im.touched(zvhd2.BlockSize)
	// MaxSize(0) counts header and footers, the bitmap has a bit per block of the disk.
	tables := (src.Size()/zvhd2.BlockSize/8 + 4096 + 4095) / 4096 * 4096
	return min(zvhd2.MaxSize(src.Size()), zvhd2.MaxSize(touched)+tables), data, err
}

// touched is how many bytes the blocks have that hold data.
func (im *importer) touched(block int64) (int64, error) {
	blocks, last := int64(0), int64(-1)
	for e, err := range im.src.image.Extents() {
		if err != nil {
			return 0, err
		}
		first := max(e.Offset/block, last+1)
		last = (e.End() - 1) / block
		blocks += max(last-first+1, 0)
	}
	return min(blocks*block, (im.src.Size()+block-1)/block*block), nil
}
