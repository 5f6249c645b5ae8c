"""Words that keep a conversation out: swear words and sexual words, and given names in personal chats."""

_PROFANE = """
arse ass asses asshole assholes bastard bastards bitch bitches bitchy boob boobs bullshit cock cocks condom
condoms crap crappy cunt cunts dammit damn damned dick dicks dumbass erotic fag faggot faggots fags goddamn
horny incest jackass lmao lmfao milf naked nazi nazis nigga nigger niggers nude nudes nudity omfg orgasm orgasms
penis piss pissed porn porno pornography prostitute prostitutes pussies pussy rape raped rapes raping rapist
retard retarded screw sex sexist sexual sexually sexy slut sluts stfu suicidal suicide tit tits vagina viagra
whore whores wtf
"""

# The most common given names that are not also everyday words (so no Will, Mark, Grace, Hope, May, Rose, Jack, Bill).
_GIVEN_NAMES = """
aaron abby abigail adam adrian alan albert alex alexa alexander alexis alice alicia alison allison alyssa amanda
amber amy andrea andrew andy angela anna anne annie anthony ashley austin barbara becky ben benjamin beth betty
blake bobby bradley brandon brenda brent brett brian brianna brittany brooke bruce bryan bryce caleb cameron
carl carol caroline carolyn carrie cassie catherine charles charlie charlotte chelsea cheryl chris christian
christina christine christopher cindy claire cody colin connor craig crystal curtis cynthia dallin daniel
danielle danny dave david dawson deborah debra dennis derek diana diane donald donna dorothy doug douglas dylan
eddie edward elena eli elijah elizabeth ella emily emma eric erica erik erin ethan evan evelyn gabriel garrett
gary george gina gloria greg gregory hailey hannah harold harry heather heidi helen henry holly isaac isabella
jackson jacob jake james jamie jane janet janice jared jasmine jason jeff jeffrey jen jenna jennifer jenny
jeremy jerry jesse jessica jill jim jimmy joan joanna joe joel john johnny jon jonathan jordan jose joseph josh
joshua joyce juan judith judy julia julie justin karen kate katherine kathleen kathryn kathy katie kayla keith
kelly kelsey ken kenneth kevin kim kimberly kristen kristin kyle landon larry laura lauren leah lena leslie liam
linda lindsay lindsey lisa logan lori louis lucas lucy luke madeline madison maggie marcus margaret maria marie
marilyn marissa martha martin mary mason matt matthew max megan melissa mia michael michelle mike miranda
mitchell molly monica morgan nancy natalie nate nathan nathaniel nicholas nick nicole noah nora olivia oscar
owen pamela patricia patrick paul paula peter philip phillip rachel ralph randy raymond rebecca richard rick rob
robert roger ronald ross roy ruth ryan sally sam samantha samuel sandra sara sarah scott sean seth shannon
sharon shawn shelby sierra sophia sophie spencer stacy stephanie stephen steve steven stuart susan suzanne
sydney tanner tara taylor teresa terry theresa thomas tiffany tim timothy todd tom tommy tony tracy travis
trevor tristan tyler vanessa veronica victor victoria vincent virginia walter wayne wendy wesley whitney william
yvonne zach zachary zack
"""

PROFANE = frozenset(_PROFANE.split())
GIVEN_NAMES = frozenset(_GIVEN_NAMES.split())
