"""Sentences of the simulated annotators, by split, axis and severity or kind of evidence.

Training items and held-out items (validation and test) share no sentence.
"""

from typing import Literal

Severity = Literal["clean", "reserved", "slight", "moderate", "strong", "extreme"]
"""How bad an annotator finds it; ``clean`` and ``reserved`` are for responses to which nothing was done."""
Phrases = dict[str, dict[str, tuple[str, ...]]]

VERDICTS: dict[str, Phrases] = {
    "train": {
        "naturalness": {
            "clean": (
                "The sentences flow easily and sound like a real person.",
                "This is fluent, idiomatic language from beginning to end.",
                "Grammar and word order are right all the way through.",
            ),
            "reserved": (
                "The grammar holds throughout, though the tone seems slightly stiff.",
                "Nothing is wrong with the wording, yet it could be livelier.",
            ),
            "slight": (
                "The wording runs smoothly apart from a small slip.",
                "Only a minor stumble disturbs otherwise easy prose.",
                "It sounds like a person, with a tiny blemish.",
            ),
            "moderate": (
                "Several clumsy spots break the flow of the sentences.",
                "The phrasing stumbles again and again along the way.",
                "Parts of it sound awkward, as if typed in haste.",
            ),
            "strong": (
                "Most sentences are broken and take effort to follow.",
                "The language is badly damaged nearly everywhere.",
                "Hardly any sentence here reads the way people write.",
            ),
            "extreme": (
                "The wording is so scrambled that the meaning barely survives.",
                "Almost every phrase is mangled and painful to read.",
                "Words are jumbled together until the text is hardly language.",
            ),
        },
        "comprehensiveness": {
            "clean": (
                "The answer is full and leaves nothing important unsaid.",
                "Everything of substance that could be expected is present.",
                "It covers the matter completely, with all its details.",
            ),
            "reserved": (
                "All the substance is there, though more depth would be welcome.",
                "Nothing is missing, yet a further example might have helped.",
            ),
            "slight": (
                "The answer is nearly full and lacks just a detail.",
                "Most of the substance is present, with a small gap.",
                "Only a little of the content has been left out.",
            ),
            "moderate": (
                "Roughly half of the substance is missing from the answer.",
                "It covers part of the matter and leaves much unsaid.",
                "A good share of the content has been replaced by padding.",
            ),
            "strong": (
                "Little substance is left, most of it is padding.",
                "The answer names a fragment and then talks around it.",
                "Most of what should be said has been left out.",
            ),
            "extreme": (
                "There is almost no content, just empty talk.",
                "Practically everything of substance has been left unsaid.",
                "Hardly a crumb of information survives in this answer.",
            ),
        },
        "on_topic": {
            "clean": (
                "Every part of the reply belongs to this conversation.",
                "It stays with the subject from beginning to end.",
                "The whole reply speaks to what was just said.",
            ),
            "reserved": (
                "It keeps to the subject, though the link could be clearer.",
                "The reply belongs here, yet it reacts a little loosely.",
            ),
            "slight": (
                "The reply keeps to the subject except for a short detour.",
                "Most of it fits, with a small part that drifts away.",
                "A brief passage wanders, the rest belongs here.",
            ),
            "moderate": (
                "About half of the reply speaks of something else.",
                "It mixes fitting remarks with remarks from elsewhere.",
                "The reply keeps jumping between this subject and another.",
            ),
            "strong": (
                "Most of the reply is about something else entirely.",
                "Only a small part still connects with this conversation.",
                "The reply has mostly left the subject behind.",
            ),
            "extreme": (
                "The reply has nothing to do with this conversation.",
                "None of it answers what was said before.",
                "It speaks about a wholly different matter throughout.",
            ),
        },
    },
    "held_out": {
        "naturalness": {
            "clean": (
                "It reads as effortlessly as everyday speech written with care.",
                "Phrasing and syntax are correct and pleasant everywhere.",
                "A native speaker could well have produced this text.",
            ),
            "reserved": (
                "I see no error, although the style is somewhat flat.",
                "The text is correct, if a bit formal for a chat.",
            ),
            "slight": (
                "Apart from an isolated flaw the text is easy to read.",
                "A single hiccup aside, the style is convincing.",
                "The language is good, barely marred by a mishap.",
            ),
            "moderate": (
                "The reader trips repeatedly over odd constructions.",
                "Errors keep turning up and make the style uneven.",
                "Some stretches are fine while others are ungainly.",
            ),
            "strong": (
                "Faulty constructions dominate and reading becomes hard work.",
                "The syntax has come apart in the greater part of it.",
                "Errors pile up until little sounds like human speech.",
            ),
            "extreme": (
                "This is a heap of disordered words, scarcely readable.",
                "The syntax has collapsed and decoding it is a struggle.",
                "Nothing in the word order or the endings can be trusted.",
            ),
        },
        "comprehensiveness": {
            "clean": (
                "A thorough response that leaves no open questions.",
                "The reader gets all the information that was wanted.",
                "Complete and informative, with the particulars in place.",
            ),
            "reserved": (
                "The information is complete, if somewhat brief for my taste.",
                "I miss nothing, although elaboration would do no harm.",
            ),
            "slight": (
                "Close to exhaustive, it merely skips a minor particular.",
                "The information is all but complete.",
                "A minor omission aside, the reader is well informed.",
            ),
            "moderate": (
                "The reader learns some of it and must guess the remainder.",
                "Important particulars are absent, though others are supplied.",
                "Information and filler share the space about equally.",
            ),
            "strong": (
                "Filler outweighs information by a wide margin.",
                "The reader learns very little from so many words.",
                "Just a scrap of the needed information is supplied.",
            ),
            "extreme": (
                "The text is filler and informs nobody.",
                "After reading it the asker knows no more than before.",
                "Information is practically absent from these lines.",
            ),
        },
        "on_topic": {
            "clean": (
                "Each statement relates directly to the preceding turn.",
                "The response is relevant throughout and never strays.",
                "It picks up the theme and remains with it.",
            ),
            "reserved": (
                "Relevant as a whole, although the connection is rather implicit.",
                "It does not stray, but engages the question only softly.",
            ),
            "slight": (
                "Largely relevant, it strays for merely a moment.",
                "An aside intrudes, otherwise the theme is respected.",
                "The theme is respected bar an unrelated remark.",
            ),
            "moderate": (
                "Relevant and unrelated statements appear in similar amounts.",
                "The theme is dropped midway in favour of an unrelated matter.",
                "Unrelated statements keep interrupting an otherwise relevant response.",
            ),
            "strong": (
                "Unrelated statements crowd out the few relevant ones.",
                "The theme is touched and then largely abandoned.",
                "Relevance is rare here, foreign material prevails.",
            ),
            "extreme": (
                "The response is irrelevant from start to finish.",
                "It seems copied from an unrelated exchange altogether.",
                "No statement relates to the theme under discussion.",
            ),
        },
    },
}

EVIDENCE: dict[str, Phrases] = {
    "train": {
        "naturalness": {
            "sound": (
                'A passage like "{quote}" comes across as ordinary, well formed speech.',
                'Consider "{quote}", which is put just as people would put it.',
            ),
            "swapped": (
                'In "{quote}" the words stand in the wrong order.',
                'The order of words is upset in "{quote}".',
            ),
            "dropped": (
                'Around "{quote}" a small word has gone missing.',
                'A little word is lacking in "{quote}".',
            ),
            "doubled": (
                'In "{quote}" a word is said over again at once.',
                'A word is repeated for no reason in "{quote}".',
            ),
            "ending": (
                'In "{quote}" a word has the wrong ending.',
                'The form of a word is wrong in "{quote}".',
            ),
        },
        "comprehensiveness": {
            "sound": (
                'A passage like "{quote}" gives the asker real substance.',
                'Consider "{quote}", which adds something useful to the answer.',
            ),
            "filler": (
                'Words such as "{quote}" merely take the place of content.',
                'For example, "{quote}" says nothing about the matter.',
                'Consider the bit "{quote}", which adds no substance.',
            ),
        },
        "on_topic": {
            "sound": (
                'A passage like "{quote}" follows from what was said earlier.',
                'Consider "{quote}", which fits what the other speaker brought up.',
            ),
            "foreign": (
                'The passage "{quote}" comes from some other conversation.',
                'For example, "{quote}" has no link with the subject.',
                'Consider the bit "{quote}", which does not belong here.',
            ),
        },
    },
    "held_out": {
        "naturalness": {
            "sound": (
                'Take "{quote}" as proof that the style is convincing.',
                'The fragment "{quote}" is typical of its unforced style.',
            ),
            "swapped": (
                'Take "{quote}", whose terms have changed places.',
                'The fragment "{quote}" needs reordering.',
            ),
            "dropped": (
                'Take "{quote}", from which a connecting term was lost.',
                'The fragment "{quote}" is short of a function word.',
            ),
            "doubled": (
                'Take "{quote}", which stutters over the same term.',
                'The fragment "{quote}" contains a needless echo.',
            ),
            "ending": (
                'Take "{quote}", where the inflection is mistaken.',
                'The fragment "{quote}" has an inflection that does not agree.',
            ),
        },
        "comprehensiveness": {
            "sound": (
                'Take "{quote}" as proof that information is supplied.',
                'The fragment "{quote}" is typical of its useful particulars.',
            ),
            "filler": (
                'Take "{quote}" as proof that filler replaces information.',
                'The fragment "{quote}" could be cut without loss.',
                'Note "{quote}", a remark that informs nobody.',
            ),
        },
        "on_topic": {
            "sound": (
                'Take "{quote}" as proof that the theme is respected.',
                'The fragment "{quote}" is typical of how it relates to the question.',
            ),
            "foreign": (
                'Take "{quote}" as proof that foreign material crept in.',
                'The fragment "{quote}" relates to some unrelated exchange.',
                'Note "{quote}", a remark without relevance to the question.',
            ),
        },
    },
}

CLOSINGS: dict[str, Phrases] = {
    "train": {
        "naturalness": {
            "good": ("Reading it is no effort.", "The style suits the conversation well."),
            "middling": (
                "The meaning still comes across with some effort.",
                "It would need polishing before being sent.",
            ),
            "bad": ("The meaning must be pieced together.", "It would have to be written anew."),
        },
        "comprehensiveness": {
            "good": ("The asker would be well served.", "Hardly anything needs to be added."),
            "middling": ("The asker would have to inquire again.", "It needs more detail to be useful."),
            "bad": ("The asker is left with nothing to use.", "It would have to be answered anew."),
        },
        "on_topic": {
            "good": ("The other speaker would feel heard.", "The thread of the talk is kept."),
            "middling": ("The other speaker would be puzzled in places.", "The thread of the talk is lost at times."),
            "bad": ("The other speaker would be left confused.", "The thread of the talk is lost."),
        },
    },
    "held_out": {
        "naturalness": {
            "good": ("Any reader would accept it gladly.", "No editor would object to this."),
            "middling": ("A careful edit could rescue it.", "Readers would notice the uneven style."),
            "bad": ("Readers would give up quickly.", "No light edit could rescue it."),
        },
        "comprehensiveness": {
            "good": ("No further question seems necessary.", "Readers can act on this information."),
            "middling": ("Further questions are sure to follow.", "Readers could act on some of it."),
            "bad": ("Readers could not act on it at all.", "Each question remains as open as before."),
        },
        "on_topic": {
            "good": ("Its relevance is beyond doubt.", "The exchange can simply continue from here."),
            "middling": ("Its relevance is patchy at best.", "The exchange suffers from these jumps."),
            "bad": ("Its relevance cannot be defended.", "The exchange breaks down at this stage."),
        },
    },
}
