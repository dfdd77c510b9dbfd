package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/manifest"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/ova"
)

// order is one image of a run that imports several.
type order struct {
	source string // as it was given
	flags  importFlags
	image  quickimport.Image
	entry  *manifest.Entry // nil if it is from the command line
}

// imageReport is what import --json prints of each of several images.
type imageReport struct {
	Source string              `json:"source"`
	Name   string              `json:"name"`
	Status string              `json:"status"`
	Result *quickimport.Result `json:"result"`
	Error  *diagnosis          `json:"error"`
}

// Values of imageReport.Status.
const (
	statusImported = "imported"
	statusAccepted = "accepted" // the job was not waited for
	statusBefore   = "already imported"
	statusFailed   = "failed"
)

// importMany imports the images of the command line, or of a manifest.
func (a *app) importMany(cmd *cobra.Command, names []string, f *importFlags) error {
	s, err := a.session(cmd, f)
	if err != nil {
		return err
	}
	defer s.close()
	orders, err := a.orders(names, f, s.bucket)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.planMany(cmd, s, orders, f.follow.json)
	}
	show := a.fleet(len(orders))
	defer show.finish()
	m := &manyImports{app: a, ctx: s.ctx, cmd: cmd, orders: orders, show: show, json: f.follow.json, watched: make([]*watch, len(orders))}
	items, err := m.items(s)
	if err != nil {
		return err
	}
	outcomes, err := s.client.ImportAll(s.ctx, items, f.parallel, m.done)
	show.finish()
	if err != nil {
		return err
	}
	m.table(outcomes)
	if m.json || a.quiet { // else the table has it
		m.printErr = errors.Join(m.printErr, a.print(m.later))
	}
	if m.printErr != nil {
		return m.printErr
	}
	return m.verdict()
}

// manyImports is a run of several imports.
type manyImports struct {
	app     *app
	ctx     context.Context // of the run, to tell why an import ended
	cmd     *cobra.Command
	orders  []*order
	show    fleet
	json    bool
	watched []*watch

	// By done, which never runs twice at once.
	reports  []imageReport
	worst    int
	failed   int
	later    string // for standard output
	printErr error
}

const statusInterrupted = "interrupted"

// items are the orders as the library takes them.
func (m *manyImports) items(s *session) ([]quickimport.Item, error) {
	m.reports = make([]imageReport, len(m.orders))
	items := make([]quickimport.Item, len(m.orders))
	for i, o := range m.orders {
		opts, err := o.flags.options()
		if err != nil {
			return nil, err
		}
		source, err := m.app.sourceOf(s.ctx, o.source, &o.flags.source, o.flags.bucketFlags())
		if err != nil {
			return nil, err
		}
		m.watched[i] = &watch{open: func() display { return m.show.image(o.image.Name) }}
		items[i] = quickimport.Item{Source: source, Image: o.image, Options: append(opts, m.watched[i].option())}
	}
	return items, nil
}

// done notes how an import ended, and says so.
func (m *manyImports) done(i int, out quickimport.Outcome) {
	o, w := m.orders[i], m.watched[i]
	w.finish()
	r := imageReport{Source: o.source, Name: o.image.Name, Status: statusImported, Result: out.Result}
	switch {
	case out.Err != nil:
		d := diagnose(m.cmd, m.app.afterTimeout(m.ctx, optionError(out.Err)))
		r.Status, r.Error = statusFailed, &d
		if errors.Is(m.ctx.Err(), context.Canceled) && !errors.Is(out.Err, quickimport.ErrUncertain) {
			r.Status = statusInterrupted
		}
		m.worst = max(m.worst, d.Status)
		m.failed++
	case !w.seen.Load():
		r.Status = statusBefore
	case out.Result.ImageID == "":
		r.Status = statusAccepted
	}
	m.reports[i] = r
	m.show.ended(m.app.endLine(&r), out.Err != nil)
	m.printErr = errors.Join(m.printErr, m.print(&r))
}

// out prints to standard output, at the end if that would get in the way of what
// is drawn on the same terminal.
func (m *manyImports) out(text string) error {
	if isTerminal(m.app.stdout) {
		m.later += text
		return nil
	}
	return m.app.print(text)
}

// print prints what scripts read: an object, or the id and the name.
func (m *manyImports) print(r *imageReport) error {
	if m.json {
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return m.out(string(data) + "\n")
	}
	if r.Result == nil || r.Error != nil {
		return nil
	}
	return m.out(cmp.Or(r.Result.ImageID, r.Result.JobID) + "  " + oneLine(r.Name) + "\n")
}

// endLine is the notice that an import has ended.
func (a *app) endLine(r *imageReport) string {
	line := oneLine(r.Name) + ": " + r.Status
	if r.Error == nil || r.Status == statusInterrupted {
		return line
	}
	paint := a.painter(a.stderr)
	if len(r.Error.Problems) == 0 {
		return paint(red, line) + ": " + r.Error.text()
	}
	lines := []string{paint(red, line) + ": " + r.Error.Message}
	for _, p := range r.Error.Problems {
		lines = append(lines, oneLine(r.Name)+":   "+oneLine(p.String()))
	}
	return strings.Join(lines, "\n")
}

// table is the summary at the end, on standard error.
func (m *manyImports) table(outcomes []quickimport.Outcome) {
	if m.app.quiet {
		return
	}
	var rows [][]string
	for i, r := range m.reports {
		row := []string{"", r.Status, "", "", "", r.Name}
		if res := outcomes[i].Result; res != nil && r.Error == nil {
			row = []string{cmp.Or(res.ImageID, "job "+res.JobID), r.Status, size(res.SourceBytes), size(res.WireBytes), fmt.Sprintf("%.1fs", res.Seconds), r.Name}
		}
		rows = append(rows, row)
	}
	_ = m.app.tableTo(m.app.stderr, []string{"IMAGE", "STATUS", "DISK", "SENT", "TIME", "NAME"}, rows)
}

// verdict is the error of the run: its status is the highest of the images'.
func (m *manyImports) verdict() error {
	if m.failed == 0 || m.ctx.Err() != nil {
		return m.ctx.Err()
	}
	return &exitError{m.worst, advisef("fix the causes shown and run the same command again: what is finished is not imported twice",
		"%d of %s failed", m.failed, plural(len(m.orders), "image"))}
}

// planMany checks all images and prints their plans.
func (a *app) planMany(cmd *cobra.Command, s *session, orders []*order, asJSON bool) error {
	worst, failed := 0, 0
	for _, o := range orders {
		opts, err := o.flags.options()
		if err != nil {
			return err
		}
		source, err := a.sourceOf(s.ctx, o.source, &o.flags.source, o.flags.bucketFlags())
		if err != nil {
			return err
		}
		plan, err := s.client.Plan(s.ctx, source, o.image, opts...)
		if err == nil {
			if err := a.printPlan(plan, asJSON); err != nil {
				return err
			}
			continue
		}
		if s.ctx.Err() != nil {
			return a.afterTimeout(s.ctx, err)
		}
		d := diagnose(cmd, optionError(err))
		fmt.Fprintln(a.stderr, a.endLine(&imageReport{Name: o.image.Name, Status: statusFailed, Error: &d}))
		worst, failed = max(worst, d.Status), failed+1
	}
	if failed > 0 {
		return &exitError{worst, fmt.Errorf("%d of %s would fail; nothing was uploaded", failed, plural(len(orders), "image"))}
	}
	return nil
}

// orders are the images to import, all checked as far as that needs no cloud.
func (a *app) orders(names []string, f *importFlags, bucket string) ([]*order, error) {
	switch {
	case f.manifest != "":
		return a.manifestOrders(f, bucket)
	case f.allDisks:
		return a.diskOrders(names[0], f, bucket)
	}
	var orders []*order
	for _, name := range names {
		o := &order{source: name, flags: *f}
		o.flags.image.Name = imageName(name)
		img, err := o.flags.image.image()
		if err != nil {
			return nil, err
		}
		img.Bucket = bucket
		o.image = img
		orders = append(orders, o)
	}
	return orders, nil
}

// imageName is the name of an image that was given none: that of the file, with
// what names must not have replaced.
func imageName(source string) string {
	base := filepath.Base(strings.TrimSuffix(source, "/"))
	for _, ext := range []string{".gz", ".xz", ".zst", ".bz2"} {
		base = strings.TrimSuffix(base, ext)
	}
	base = strings.TrimSuffix(base, filepath.Ext(base))
	return strings.Trim(strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '_' || unicode.Is(unicode.Han, r) || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, base), " ")
}

// diskOrders are the disks of an OVA: the first as asked for, the others as data
// disks with a number.
func (a *app) diskOrders(name string, f *importFlags, bucket string) ([]*order, error) {
	file, err := fileBytes(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	archive, err := ova.New(file.ReaderAt, file.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	members := archive.Disks()
	if len(members) == 0 {
		return nil, advisef("list it with 'tar -tf'", "%s holds no disk", name)
	}
	if f.image.Name == "" {
		f.image.Name = imageName(name)
	}
	img, err := f.image.image()
	if err != nil {
		return nil, err
	}
	img.Bucket = bucket
	var orders []*order
	for i, m := range members {
		o := &order{source: name, flags: *f, image: img}
		o.flags.source.member = m.Name
		if i > 0 {
			o.image.Name = fmt.Sprintf("%s-disk%d", img.Name, i+1)
			o.image.Type, o.image.OSVersion = quickimport.TypeData, ""
			o.image.Architecture, o.image.HWFirmwareType, o.image.LicenseType = "", "", ""
			o.image.MinDisk = 0
		}
		orders = append(orders, o)
	}
	return orders, nil
}

// openable reports what keeps a local file from being an image; what is not known
// before it has been read is left to the import.
func openable(name string, opts []anyimage.Option) error {
	d, err := anyimage.Open(name, opts...)
	if err == nil {
		return d.Close()
	}
	if e, ok := errors.AsType[*anyimage.UnsupportedError](err); ok && (e.Format == rawimage.FormatZVHD2 || anyimage.Compressed(e.Format)) {
		return nil
	}
	return err
}
