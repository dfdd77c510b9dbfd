package command

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
)

// uploadReport is what upload --json prints. The names are stable.
type uploadReport struct {
	Bucket       string  `json:"bucket"`
	Key          string  `json:"key"`
	ObjectBytes  int64   `json:"object_bytes"`
	WireBytes    int64   `json:"wire_bytes"`
	CopiedBytes  int64   `json:"copied_bytes"`
	Parts        int     `json:"parts"`
	ResumedParts int     `json:"resumed_parts"`
	Retries      int     `json:"retries"`
	ETag         string  `json:"etag"`
	Seconds      float64 `json:"seconds"`
}

type uploadFlags struct {
	bucketFlags
	stateDir       string
	partSize, rate int64
	concurrency    int
	abort, json    bool
	noCopy         bool
}

func (a *app) uploadCmd() *cobra.Command {
	var f uploadFlags
	cmd := &cobra.Command{
		Use:   "upload [flags] SRC obs://BUCKET/KEY",
		Short: "upload any file to a bucket, resumable, without sending zeros",
		Long: `Upload sends SRC, whatever its format, in parallel parts. Parts that contain
only zeros are copied on the server. SRC is a file or a URL (http, https, obs, nbd). An
object with that key is replaced. A target that ends in / gets the name of SRC. An
interrupted upload resumes when the same command is run again; its state is kept in
the state directory and contains no secret.

A SRC of - is standard input. It may have up to 10,000 parts: 48.8GiB, or more with
a larger --part-size; --concurrency parts and one more are in memory. That the
program on the other end of the pipe failed halfway cannot be detected here: use
set -o pipefail.

With --json it prints one object: bucket, key, object_bytes, wire_bytes,
copied_bytes, parts, resumed_parts, retries, etag, seconds.`,
		Example: `  fastimage upload --region cn-north-4 disk.zvhd2 obs://images/disk.zvhd2
  fastimage convert debian.qcow2 - | fastimage upload --region cn-north-4 - obs://images/debian.zvhd2`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.upload(cmd.Context(), args[0], args[1], f)
		},
	}
	f.concurrency = 4
	topic(cmd, topicUpload, func(fl *pflag.FlagSet) {
		rateFlag(fl, &f.rate)
		fl.Var(count{&f.concurrency, 1, 64}, "concurrency", "parts sent at once, 1 to 64")
		partSizeFlag(fl, &f.partSize, "size of a part, 5MiB to 5GiB (default: by the size of SRC)")
		fl.StringVar(&f.stateDir, "state-dir", "", "directory for the state needed to resume (default: fastimage in the user's cache directory)")
		fl.BoolVar(&f.noCopy, "no-copy", false, "send parts of zeros instead of copying them on the server")
		fl.BoolVar(&f.abort, "abort", false, "remove the parts when the upload fails instead of keeping them to resume")
	})
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &f.json) })
	f.add(a, cmd)
	return cmd
}

func (f *uploadFlags) options(a *app) ([]uploader.Option, error) {
	opts := []uploader.Option{uploader.WithConcurrency(f.concurrency)}
	if f.partSize > 0 {
		opts = append(opts, uploader.WithPartSize(f.partSize))
	}
	if f.noCopy {
		opts = append(opts, uploader.WithZeroCopy(false))
	}
	if f.rate > 0 {
		opts = append(opts, uploader.WithRateLimit(f.rate))
	}
	if f.abort {
		return append(opts, uploader.WithFailureMode(uploader.FailAbort)), nil
	}
	dir, err := a.stateDir(f.stateDir, "uploads")
	if err != nil {
		return nil, err
	}
	store, err := uploader.NewFileStore(dir)
	if err != nil {
		return nil, advisef("choose another directory with --state-dir", "%w", err)
	}
	return append(opts, uploader.WithStore(store)), nil
}

func (a *app) upload(ctx context.Context, name, target string, f uploadFlags) error {
	if strings.HasSuffix(target, "/") && name != "-" {
		target += baseName(name)
	}
	bucket, key, err := parseObject(target, true)
	if err != nil {
		return err
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	opts, err := f.options(a)
	a.resumable = !f.abort
	if err != nil {
		return err
	}
	var res *uploader.Result
	if name == "-" {
		res, err = a.uploadStdin(ctx, client, bucket, key, cmp.Or(f.partSize, uploader.MinPartSize), opts)
	} else {
		res, err = a.uploadFile(ctx, client, name, bucket, key, &f.bucketFlags, opts)
	}
	if err != nil {
		return err
	}
	if f.json {
		return a.printJSON(uploadReport{Bucket: res.Bucket, Key: res.Key, ObjectBytes: res.ObjectBytes, WireBytes: res.WireBytes,
			CopiedBytes: res.CopiedBytes, Parts: res.Parts, ResumedParts: res.ResumedParts, Retries: res.Retries, ETag: res.ETag, Seconds: res.Seconds})
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "object  %s%s/%s, %s in %d parts of %s\nsent    %s, copied on the server %s, parts resumed %d, retries %d\ntime    %.2fs\n",
			obsScheme, res.Bucket, res.Key, size(res.ObjectBytes), res.Parts, size(res.PartSize), size(res.WireBytes), size(res.CopiedBytes), res.ResumedParts, res.Retries, res.Seconds)
	}
	_, err = fmt.Fprintln(a.stdout, res.ETag)
	return err
}

// baseName is the last element of a file name or a URL.
func baseName(name string) string {
	if u, err := url.Parse(name); err == nil && u.Host != "" {
		return path.Base(u.Path)
	}
	return filepath.Base(name)
}

// uploadFile uploads the bytes of a file or a URL as they are.
func (a *app) uploadFile(ctx context.Context, client *uploader.Client, name, bucket, key string, f *bucketFlags, opts []uploader.Option) (*uploader.Result, error) {
	src, err := a.plainSource(ctx, name, &sourceFlags{}, f)
	if err != nil {
		return nil, err
	}
	in, err := src.Open(ctx, nil)
	if errors.Is(err, rawimage.ErrEmpty) { // no disk, but an object may be empty
		in, err = &quickimport.Input{ReaderAt: strings.NewReader(""), Close: func() error { return nil }}, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if in.Identity != "" {
		opts = append(opts, uploader.WithFingerprint(in.Identity))
	}
	if in.CheckUnchanged != nil { // a source that changes on the way must leave no object
		opts = append(opts, uploader.WithSourceCheck(in.CheckUnchanged))
	}
	return a.send(client, in.Size, opts, func(up *uploader.Uploader) (*uploader.Result, error) {
		if in.Reader != nil {
			return up.UploadStream(ctx, bucket, key, in.Reader, cmp.Or(in.Size, uploader.MaxObjectSize))
		}
		return up.UploadReaderAt(ctx, bucket, key, in.ReaderAt, in.Size)
	})
}

// uploadStdin uploads what comes from a pipe. Nobody knows its size, so it may
// have as many parts as there can be.
func (a *app) uploadStdin(ctx context.Context, client *uploader.Client, bucket, key string, part int64, opts []uploader.Option) (*uploader.Result, error) {
	if isTerminal(a.stdin) {
		return nil, usagef("standard input is a terminal; name a file, or send one through a pipe")
	}
	in := bufio.NewReaderSize(interruptible(ctx, a.stdin), 1<<20)
	if _, err := in.Peek(1); errors.Is(err, io.EOF) {
		return nil, advisef("check the program that was to write it", "standard input is empty")
	}
	most := min(part*uploader.MaxParts, uploader.MaxObjectSize)
	res, err := a.send(client, -1, opts, func(up *uploader.Uploader) (*uploader.Result, error) {
		return up.UploadStream(ctx, bucket, key, in, most)
	})
	if errors.Is(err, uploader.ErrTooLarge) {
		err = advisef("use a --part-size larger than "+size(part), "%w", err)
	}
	return res, err
}

// send makes an uploader and does the upload of size bytes, -1 if nobody knows.
func (a *app) send(client *uploader.Client, size int64, opts []uploader.Option, do func(*uploader.Uploader) (*uploader.Result, error)) (*uploader.Result, error) {
	show := a.progress()
	if _, ok := show.(*bars); ok && size < 0 {
		show = newLines(a.stderr, a.progressEvery, time.Now) // a bar needs an end
	}
	defer show.finish()
	up, err := uploader.New(client, append(opts, uploader.WithProgress(func(p uploader.Progress) {
		if p.Retry != nil {
			show.note(retryLine(p.Retry.Op, p.Retry.Part, p.Retry.Attempt, p.Retry.Wait, p.Retry.Reason))
		}
		show.show(step{phase: "upload", done: p.Done, total: min(p.Total, size), skipped: p.Copied, sent: p.Wire, retries: p.Retries})
	}))...)
	if err != nil {
		return nil, usagef("%w", err)
	}
	res, err := do(up)
	if err != nil {
		return nil, err
	}
	show.finish()
	a.notices(res)
	return res, nil
}

// notices prints what a user would not expect of an upload that succeeded.
func (a *app) notices(res *uploader.Result) {
	if res.RestartReason != "" && !a.quiet {
		fmt.Fprintf(a.stderr, "upload: started over: %s\n", res.RestartReason)
	}
	if res.Encrypted && !a.quiet {
		fmt.Fprintln(a.stderr, "upload: the bucket encrypts objects: their ETags are not digests and were not compared")
	}
	if res.CleanupErr != nil {
		fmt.Fprintf(a.stderr, "fastimage: warning: %s\n", message(res.CleanupErr))
	}
}

func (a *app) uploadsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uploads",
		Short: "list or abort unfinished uploads",
		Args:  noSuchCommand,
		RunE:  needsCommand,
	}
	cmd.AddCommand(a.uploadsSub("list", "list the unfinished uploads under a prefix"),
		a.uploadsSub("abort", "abort the unfinished uploads under a prefix and remove their parts"))
	return cmd
}

// uploadsReport is what uploads --json prints. The names are stable.
type uploadsReport struct {
	Uploads []uploadEntry `json:"uploads"`
}

type uploadEntry struct {
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	UploadID  string    `json:"upload_id"`
	Initiated time.Time `json:"initiated"`
}

func (a *app) uploadsSub(name, short string) *cobra.Command {
	var f bucketFlags
	var age time.Duration
	var list listFlags
	cmd := &cobra.Command{
		Use: name + " [flags] obs://BUCKET/PREFIX", Short: short,
		Long:    strings.ToUpper(name[:1]) + name[1:] + " prints the uploads in a table.\n\nWith --output json (or --json) it prints one object: uploads, a list of bucket, key, upload_id, initiated.",
		Example: "  fastimage uploads " + name + " --region cn-north-4 --older-than 24h obs://images/",
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if age < 0 {
				return usagef("--older-than %s: want a duration such as 24h", age)
			}
			bucket, prefix, err := parseObject(args[0], false)
			if err != nil {
				return err
			}
			client, err := f.client()
			if err != nil {
				return err
			}
			before := time.Now().Add(-age)
			if age == 0 {
				before = time.Time{}
			}
			found, err := uploads(cmd.Context(), client, name == "abort", bucket, prefix, before)
			if err != nil && len(found) == 0 {
				return err
			}
			return errors.Join(err, a.printUploads(found, list.asJSON()))
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		fl.DurationVar(&age, "older-than", 0, "only uploads started this long ago, for instance 24h (default: all)")
		list.add(fl)
	})
	f.add(a, cmd)
	return cmd
}

func uploads(ctx context.Context, c *uploader.Client, abort bool, bucket, prefix string, before time.Time) ([]uploader.Upload, error) {
	if abort {
		return c.AbortStale(ctx, bucket, prefix, before)
	}
	var all []uploader.Upload
	for u, err := range c.Stale(ctx, bucket, prefix, before) {
		if err != nil {
			return all, err
		}
		all = append(all, u)
	}
	return all, nil
}

func (a *app) printUploads(found []uploader.Upload, asJSON bool) error {
	rep := uploadsReport{Uploads: []uploadEntry{}}
	for _, u := range found {
		rep.Uploads = append(rep.Uploads, uploadEntry{u.Bucket, u.Key, u.UploadID, u.Initiated.UTC()})
	}
	if asJSON {
		return a.printJSON(rep)
	}
	var rows [][]string
	for _, u := range rep.Uploads {
		rows = append(rows, []string{u.UploadID, minute(u.Initiated), obsScheme + u.Bucket + "/" + u.Key})
	}
	return a.printTable([]string{"ID", "STARTED", "TARGET"}, rows)
}
