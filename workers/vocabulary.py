"""English words that tell nothing about a document's subject. Pure."""

from workers.formats.blocks import words

# Too common to be, or to begin or end, a term.
STOP = words(
    "a about above across after again against all almost also although always am among an and another any are "
    "aren't around as at back be became because become been before began being below between both but by "
    "called came can can't cannot case could couldn't did didn't do does doesn't doing don't done down during "
    "each either else enough even ever every example few first following for from full further gets getting "
    "give given gives go goes going got had has have haven't having he her here hers him his how however i i'm "
    "if in instead into is isn't it it's its itself just keep know last later least less let let's like likely "
    "ll made make makes making many may maybe me might mine more most much must my myself need needs never new "
    "next no non none nor not nothing now of off often on once one only onto or other others otherwise our out "
    "over own part per perhaps please possible put quite rather re really s said same say says see seen "
    "several shall she should simply since so some something soon still such sure t take taken than that "
    "that's the their them then there these they they're thing things this those though three through thus to "
    "together too toward towards two under unless until up upon us use used useful user uses using usually ve very "
    "via want wants was way we well went were what when where whether which while who whole whose why will "
    "with within without won't would yes yet you you're your yours"
)

# Of headings that say where one is in a document, not what it is about.
SIGNPOSTS = words(
    "abstract acknowledgments appendix background basics changelog conclusion contents contributing credits "
    "description details example examples faq features foreword further getting glossary guide history index "
    "installation installing introduction license links more motivation next notes overview preface quick "
    "quickstart reading readme reference references related requirements resources see start started steps "
    "summary support table toc todo topics troubleshooting tutorial usage welcome what's"
)
