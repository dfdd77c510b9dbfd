package nbd

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

// Values of the handshake, from the protocol's document.
const (
	magicInit   = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption = 0x49484156454f5054 // "IHAVEOPT"
	magicReply  = 0x0003e889045565a9

	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1

	optExportName      = 1
	optStartTLS        = 5
	optGo              = 7
	optStructuredReply = 8
	optSetMetaContext  = 10

	repAck         = 1
	repInfo        = 3
	repMetaContext = 4
	repError       = 1 << 31
	repErrUnsup    = repError | 1
	repErrTLSReqd  = repError | 5
	repErrUnknown  = repError | 6

	infoExport    = 0
	infoBlockSize = 3

	txMultiConn = 1 << 8

	contextAllocation = "base:allocation"

	maxString = 4096     // of a name, by the protocol
	maxReply  = 64 << 10 // of an option; the real ones are shorter than a name

	defaultMaxPayload = 32 << 20 // where the server names none
)

// exportInfo is what the handshake tells of an export.
type exportInfo struct {
	size       int64
	flags      uint16
	minBlock   int64 // requests are multiples of it
	maxPayload int64 // of a read
	structured bool
	allocation uint32 // id of the context base:allocation
	hasStatus  bool
}

// handshake is one on its way.
type handshake struct {
	conn net.Conn
	t    *target
	info exportInfo
}

// connect dials and negotiates, until transmission.
func connect(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), t *target, timeout time.Duration) (net.Conn, *exportInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := dial(ctx, t.network, t.address)
	if err != nil {
		return nil, nil, pkg.Errorf("connect: %w", err)
	}
	h := &handshake{conn: conn, t: t, info: exportInfo{minBlock: 1, maxPayload: defaultMaxPayload}}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = h.run(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, pkg.Errorf("handshake: %w", err)
	}
	return h.conn, &h.info, nil
}

func (h *handshake) run(ctx context.Context) error {
	fixed, noZeroes, err := h.greet()
	if err != nil {
		return err
	}
	if h.t.tls != nil {
		if err := h.startTLS(ctx); err != nil {
			return err
		}
	}
	if !fixed {
		return h.exportName(noZeroes)
	}
	if h.info.structured, err = h.agree(optStructuredReply, nil); err != nil {
		return err
	}
	if h.info.structured {
		if err := h.setContext(); err != nil {
			return err
		}
	}
	known, err := h.goExport()
	if err == nil && !known {
		err = h.exportName(noZeroes)
	}
	return err
}

func (h *handshake) greet() (fixed, noZeroes bool, err error) {
	var b [18]byte
	if _, err := io.ReadFull(h.conn, b[:]); err != nil {
		return false, false, err
	}
	switch {
	case binary.BigEndian.Uint64(b[:]) != magicInit:
		return false, false, protocolError("this is no NBD server")
	case binary.BigEndian.Uint64(b[8:]) != magicOption:
		return false, false, pkg.Errorf("%w: oldstyle handshake", ErrUnsupported)
	}
	flags := binary.BigEndian.Uint16(b[16:])
	fixed, noZeroes = flags&flagFixedNewstyle != 0, flags&flagNoZeroes != 0
	return fixed, noZeroes, h.send(binary.BigEndian.AppendUint32(nil, uint32(flags&(flagFixedNewstyle|flagNoZeroes))))
}

func (h *handshake) send(p []byte) error {
	_, err := h.conn.Write(p)
	return err
}

func (h *handshake) option(opt uint32, data []byte) error {
	p := binary.BigEndian.AppendUint64(nil, magicOption)
	p = binary.BigEndian.AppendUint32(p, opt)
	p = binary.BigEndian.AppendUint32(p, uint32(len(data)))
	return h.send(append(p, data...))
}

// reply reads one reply to an option.
func (h *handshake) reply(opt uint32) (kind uint32, data []byte, err error) {
	var b [20]byte
	if _, err := io.ReadFull(h.conn, b[:]); err != nil {
		return 0, nil, err
	}
	if binary.BigEndian.Uint64(b[:]) != magicReply || binary.BigEndian.Uint32(b[8:]) != opt {
		return 0, nil, protocolError("not a reply to option %d", opt)
	}
	kind = binary.BigEndian.Uint32(b[12:])
	n := binary.BigEndian.Uint32(b[16:])
	if n > maxReply {
		return 0, nil, protocolError("reply of %d bytes to option %d", n, opt)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(h.conn, data)
	return kind, data, err
}

// agree asks for something that a server may refuse.
func (h *handshake) agree(opt uint32, data []byte) (bool, error) {
	if err := h.option(opt, data); err != nil {
		return false, err
	}
	kind, msg, err := h.reply(opt)
	switch {
	case err != nil:
		return false, err
	case kind == repAck:
		return true, nil
	case kind == repErrTLSReqd:
		return false, ErrTLSRequired
	case kind&repError != 0:
		return false, nil
	}
	return false, protocolError("reply %#x (%q) to option %d", kind, msg, opt)
}

func (h *handshake) startTLS(ctx context.Context) error {
	ok, err := h.agree(optStartTLS, nil)
	if err == nil && !ok {
		err = ErrNoTLS
	}
	if err != nil {
		return err
	}
	secure := tls.Client(h.conn, h.t.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	h.conn = secure
	return nil
}

func appendString(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(p, uint32(len(s))), s...)
}

// setContext asks for block status; not having it is fine.
func (h *handshake) setContext() error {
	data := appendString(nil, h.t.export)
	data = appendString(binary.BigEndian.AppendUint32(data, 1), contextAllocation)
	if err := h.option(optSetMetaContext, data); err != nil {
		return err
	}
	for range 16 {
		kind, data, err := h.reply(optSetMetaContext)
		switch {
		case err != nil:
			return err
		case kind == repMetaContext && len(data) >= 4 && string(data[4:]) == contextAllocation:
			h.info.allocation, h.info.hasStatus = binary.BigEndian.Uint32(data), true
		case kind == repMetaContext:
		case kind == repErrTLSReqd:
			return ErrTLSRequired
		case kind == repAck || kind&repError != 0:
			return nil // GO says what is wrong with the export
		default:
			return protocolError("reply %#x to a request for block status", kind)
		}
	}
	return protocolError("endless replies to a request for block status")
}

// goExport begins the transmission. known is false if the server is too old for it.
func (h *handshake) goExport() (known bool, err error) {
	data := appendString(nil, h.t.export)
	data = append(data, 0, 1, 0, infoBlockSize)
	if err := h.option(optGo, data); err != nil {
		return false, err
	}
	for range 64 {
		kind, data, err := h.reply(optGo)
		switch {
		case err != nil:
			return false, err
		case kind == repInfo:
			err = h.parseInfo(data)
		case kind == repAck:
			return true, h.check()
		case kind == repErrUnsup:
			return false, nil
		case kind == repErrTLSReqd:
			err = ErrTLSRequired
		case kind == repErrUnknown:
			err = pkg.Errorf("%w: %q (%q)", ErrNoExport, h.t.export, clip(data))
		case kind&repError != 0:
			err = pkg.Errorf("%w: the server refuses export %q: reply %#x (%q)", ErrUnsupported, h.t.export, kind, clip(data))
		default:
			err = protocolError("reply %#x to GO", kind)
		}
		if err != nil {
			return false, err
		}
	}
	return false, protocolError("endless replies to GO")
}

func clip(msg []byte) []byte { return msg[:min(len(msg), 300)] }

func (h *handshake) parseInfo(data []byte) error {
	if len(data) < 2 {
		return protocolError("information of %d bytes", len(data))
	}
	switch kind, data := binary.BigEndian.Uint16(data), data[2:]; {
	case kind == infoExport && len(data) == 10:
		h.info.size = int64(binary.BigEndian.Uint64(data))
		h.info.flags = binary.BigEndian.Uint16(data[8:])
	case kind == infoBlockSize && len(data) == 12:
		h.info.minBlock = int64(binary.BigEndian.Uint32(data))
		h.info.maxPayload = int64(binary.BigEndian.Uint32(data[8:]))
	case kind == infoExport || kind == infoBlockSize:
		return protocolError("information %d of %d bytes", kind, len(data))
	}
	return nil
}

// check refuses sizes that make no sense.
func (h *handshake) check() error {
	i := &h.info
	if i.size <= 0 {
		return protocolError("export of %d bytes", uint64(i.size))
	}
	if i.minBlock < 1 || i.minBlock > 64<<10 || i.minBlock&(i.minBlock-1) != 0 || i.maxPayload < i.minBlock {
		return protocolError("block sizes %d to %d", i.minBlock, i.maxPayload)
	}
	i.maxPayload = min(i.maxPayload, defaultMaxPayload) / i.minBlock * i.minBlock
	return nil
}

// exportName is the oldest way to begin the transmission, without a reply that
// could say what is wrong: the server hangs up.
func (h *handshake) exportName(noZeroes bool) error {
	if err := h.option(optExportName, []byte(h.t.export)); err != nil {
		return err
	}
	b := make([]byte, 10+124)
	if noZeroes {
		b = b[:10]
	}
	if _, err := io.ReadFull(h.conn, b); err != nil {
		if errors.Is(err, io.EOF) {
			return pkg.Errorf("%w: %q: the server hung up", ErrNoExport, h.t.export)
		}
		return err
	}
	return errors.Join(h.parseInfo(slices.Concat([]byte{0, infoExport}, b[:10])), h.check())
}
