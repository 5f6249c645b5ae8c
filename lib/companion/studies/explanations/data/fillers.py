"""Sentences that say nothing, to bring a shortened reply back to its old length.

Without them a rater could read the comprehensiveness level off the length (Spearman 0.70 when replies are only cut).
Training has its own sentences, and validation and test share the others, so that a rater which has learned the
sentences instead of the emptiness is found out.
"""

_TRAIN = """
Anyway.
In short.
So it goes.
And so on.
That is all.
Things are like that.
It really does depend.
One could say more.
There you have it.
It is what it is.
That may be so, really.
You know how it goes.
Many things are like this.
Some might see it otherwise.
There is always more to say.
It can go one way or another.
People think all sorts of things here.
That is simply how these things are.
In the end it all comes together.
There are several sides to all of it.
Everyone has a view of some kind or other.
It is one of those things, more or less.
Of course it is never quite that simple, really.
One could go on like this for a while.
As with so much else, it depends on many things.
All in all, it is about what one would expect.
And that is more or less where the matter stands today.
There is a lot that could be said, in one way or another.
It is hard to say much, but it is easy to say something.
"""

_HELD_OUT = """
Whatever.
Who knows.
Time will tell.
Such is life.
Nothing more to add.
Make of this what you will.
Generally speaking, yes and no.
Hard to put into words.
I suppose we shall see.
Opinions on such matters vary.
Let us leave matters there.
Each case has its own features.
Perhaps, perhaps not, who can tell.
Much has been written about such topics.
Answers differ from place to place.
Certain aspects deserve closer attention at some point.
Further details would only make this longer.
Several factors play a part, as usual.
Overall, a fairly typical state of affairs.
Naturally, opinions will always differ on such points.
Some prefer this, others prefer that, and rightly so.
Broadly, nothing here should surprise anyone very much at all.
Once everything has been considered, not much else remains.
Whichever way you look, similar points keep coming up again.
Taken as a whole, this picture seems neither better nor worse.
Sooner or later most of us come across something of this sort.
Whether much or little follows from this remains open for now, naturally.
"""


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.strip().splitlines())


FILLERS: dict[str, tuple[str, ...]] = {
    "train": _lines(_TRAIN),
    "validation": _lines(_HELD_OUT),
    "test": _lines(_HELD_OUT),
}
