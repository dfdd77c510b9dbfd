package rawimage

type options struct {
	anyFormat bool
	noHoles   bool
	name      string
}

// Option configures Open and New.
type Option func(*options) error

// WithAnyFormat takes the source for RAW whatever its first bytes are. Default:
// a source with the magic of another format is refused.
func WithAnyFormat() Option {
	return func(o *options) error {
		o.anyFormat = true
		return nil
	}
}

// WithoutHoles makes the image one extent of data from end to end, for file
// systems whose reports of holes are not to be trusted (OpenZFS before 2.2.2
// for one). Default: holes are used where the source reports them.
func WithoutHoles() Option {
	return func(o *options) error {
		o.noHoles = true
		return nil
	}
}

// WithName names the source of New in errors. Default: no name. Open has one.
func WithName(name string) Option {
	return func(o *options) error {
		o.name = name
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := new(options)
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
